"""The command line: everything it knows it has from the public API."""
