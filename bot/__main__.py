"""Entry point of `python3 bot.zip` and of `python3 -m bot`."""

from __future__ import annotations

import sys

from bot.main import main

if __name__ == "__main__":
    sys.exit(main())
