"""`python -m client`: what the script `pilot` hands over to."""

from client.cli import cli

cli(prog_name="pilot")
