"""Starts a row of Syndic the way `syndic worker` starts: without collections while it imports."""

from __future__ import annotations

import sys

import uvloop

from bench.rows.serving import serve
from workers.memory import postpone_collections


def main() -> None:
    """Serve the row that is named on the command line."""
    postpone_collections()
    from workers.preflight import prepare
    from workers.settings import load_settings
    from workers.telemetry import configure_logging

    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)  # to standard error: standard output is for answers
    uvloop.run(prepare(settings))
    from bench.rows.syndic_rows import SyndicRow, SyndicTask

    row = SyndicTask("task") if sys.argv[1] == "task" else SyndicRow(sys.argv[1])
    serve(row, uvloop.new_event_loop)


if __name__ == "__main__":
    main()
