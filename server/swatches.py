"""How families look: a colour and a pattern given at registration, and two letters beside them."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Container, Iterable

HUES = 8
PATTERNS = 6
"""Plain first; 8 × 6 = 48 distinct looks, then they repeat."""


def free_colour(used: Iterable[int]) -> int:
    """The look for a new family, 8 × pattern + hue: the least used hue, in the pattern that it was used least with.

    A hash would give two of eight families the same hue nearly always.
    """
    looks = Counter(used)
    hues: Counter[int] = Counter()
    for look, count in looks.items():
        hues[look % HUES] += count
    hue = min(range(HUES), key=lambda candidate: hues[candidate])
    pattern = min(range(PATTERNS), key=lambda candidate: looks[candidate * HUES + hue])
    return pattern * HUES + hue


def free_letters(family: str, taken: Container[str]) -> str:
    """Two letters for a family, its initials if they are free: `chromium-src` is CS, `firmware` is FI.

    Args:
        family: its name.
        taken: letters of the others, in capitals.
    """
    words = [word for word in re.split(r"[._-]+", family.upper()) if word]
    joined = "".join(words)
    initials = "".join(word[0] for word in words)
    first = joined[0]
    every = string.ascii_uppercase + string.digits
    candidates = [initials[:2]] if len(initials) > 1 else []
    candidates += [first + other for other in joined[1:] + every]
    candidates += [one + other for one in every for other in every]
    # Beyond 1,296 families letters repeat.
    return next((candidate for candidate in candidates if candidate not in taken), candidates[0])
