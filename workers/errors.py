"""Root of the errors that a person at the command line is told. The text says what is wrong and what to do."""

from __future__ import annotations


class WorkersError(Exception):
    """Syndic cannot run as it is set up."""

    exit_code = 1

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class SettingsError(WorkersError):
    """A setting is malformed."""

    exit_code = 2
