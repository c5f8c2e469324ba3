"""Pilotlight's own bot: the Python standard library and nothing else, zipped and served by the server."""
