"""Starts a row of Syndic the way `syndic worker` starts: without collections while it imports."""

from __future__ import annotations

import sys

from bench.rows.serving import serve
from workers.memory import postpone_collections


def main() -> None:
    """Serve the row that is named on the command line."""
    postpone_collections()
    from bench.rows.syndic_rows import SyndicRow, SyndicTask

    serve(SyndicTask("task") if sys.argv[1] == "task" else SyndicRow(sys.argv[1]))


if __name__ == "__main__":
    main()
