"""Collections stop for the imports, and begin again with what was imported left out."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc
from workers.memory import postpone_collections, settle_memory
postpone_collections()
assert not gc.isenabled()
import decimal
settle_memory()
assert gc.isenabled() and gc.get_freeze_count() > 1000
"""


def test_a_worker_collects_nothing_while_it_imports_and_all_that_comes_later() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
