"""`python -m client`: what the script `pilot` hands over to."""

import signal
import sys

# While all that is loaded Ctrl-C just ends us: an exception is lost when it comes in a callback of the interpreter.
heard = signal.getsignal(signal.SIGINT)
if heard is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from client.cli import cli  # noqa: E402

signal.signal(signal.SIGINT, heard)
try:
    cli(prog_name="pilot")
except KeyboardInterrupt:  # before a command has begun; from then on each has its own way
    sys.exit(130)
