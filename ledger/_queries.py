"""Named SQL out of `ledger/sql/`."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import LiteralString, cast

from ledger.vocabulary import Record

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_VERSION = re.compile(r"^(\d{4})_(\w+)\.sql$")


class Migration(Record):
    """One file of `ledger/sql/migrations`; it never changes once it is released."""

    version: int
    name: str
    text: str


@cache
def queries() -> dict[str, LiteralString]:
    """Every statement of the files beside the migrations, by its name."""
    named: dict[str, LiteralString] = {}
    for file in (files("ledger") / "sql").iterdir():
        if file.name.endswith(".sql"):
            parts = _NAME.split(file.read_text("utf-8"))
            # The text comes from this package's own files, which is what psycopg's LiteralString asks for.
            named |= {
                name: cast("LiteralString", text.strip()) for name, text in zip(parts[1::2], parts[2::2], strict=True)
            }
    return named


@cache
def migrations() -> tuple[Migration, ...]:
    """All migrations of this build, in order."""
    found: list[Migration] = []
    for file in (files("ledger") / "sql" / "migrations").iterdir():
        match = _VERSION.match(file.name)
        if match:
            found.append(Migration(version=int(match[1]), name=match[2], text=file.read_text("utf-8")))
    return tuple(sorted(found, key=lambda migration: migration.version))
