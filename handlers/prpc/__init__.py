"""The client API: Swarming v2 over pRPC."""
