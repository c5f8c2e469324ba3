"""`python -m client`: what the script `pilot` hands over to."""

import sys

try:
    from client.cli import cli

    cli(prog_name="pilot")
except KeyboardInterrupt:  # while all that is loaded; from then on each command has its own way
    sys.exit(130)
