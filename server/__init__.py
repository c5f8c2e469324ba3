"""Pilotlight's server: use cases, records and store; `server.policy` is its pure core."""
