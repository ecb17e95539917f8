"""Passwords of the embedded servers: made once, kept beside their data."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from pydantic import BaseModel, SecretStr, ValidationError

from workers.stack.addresses import write_private
from workers.stack.errors import StackError


class Credentials(BaseModel):
    """One password each for the schema's owner, the workers' role and Redis."""

    owner: SecretStr
    worker: SecretStr
    redis: SecretStr


def load_credentials(state_dir: Path) -> Credentials:
    """Read them, or make them where the state folder is new.

    Raises:
        StackError: the file is missing or damaged although a database exists that was made with it.
    """
    path = state_dir / "credentials.json"
    try:
        return Credentials.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        if (state_dir / "postgres" / "data").exists():
            raise _lost(path) from None
    except ValidationError as error:
        raise _lost(path) from error
    made = {name: secrets.token_hex(24) for name in Credentials.model_fields}
    write_private(path, json.dumps(made, indent=1) + "\n")
    return Credentials.model_validate(made)


def _lost(path: Path) -> StackError:
    return StackError(
        f"{path} is missing or damaged, and the database beside it was made with the passwords in it. "
        "Restore the file, or set SYNDIC_STATE_DIR to a new folder."
    )
