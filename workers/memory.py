"""Garbage collection of a worker process: none while it imports, none of what it imported."""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 10_000
"""So many new objects begin a collection. After 700, the interpreter's own choice, they were a twentieth of a worker's work."""


def postpone_collections() -> None:
    """Before the imports: what they make stays for good, and looking through it again and again is a quarter of the start."""
    gc.disable()


def settle_memory() -> None:
    """Once everything is imported: collections begin, seldom, and need not look at half a million objects that stay for good."""
    gc.freeze()
    gc.set_threshold(YOUNG)
    gc.enable()
