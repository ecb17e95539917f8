"""Where the servers are, and the file that tells other processes: `stack.json` in the state folder."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from temporalio.envconfig import ClientConfigProfile

from workers.errors import SettingsError
from workers.settings import OWN_PROFILE, Settings
from workers.stack.errors import NotRunningError
from workers.stack.processes import ProcessId, is_alive


class Addresses(BaseModel):
    """Everything a process of ours needs to find the servers. The URLs hold passwords: never log them."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    temporal: str
    """host:port of the gRPC service."""
    namespace: str
    web_ui: str | None = None
    database_url: str = Field(repr=False)
    """Postgres as the workers' role."""
    owner_database_url: str | None = Field(default=None, repr=False)
    """Postgres as the role that owns the schema; embedded, or SYNDIC_OWNER_DATABASE_URL."""
    redis_url: str = Field(repr=False)
    state_dir: Path
    profile: ClientConfigProfile | None = Field(default=None, exclude=True, repr=False)
    """Set where Temporal is not ours: TLS, keys and headers of the person's own profile."""

    def temporal_options(self) -> dict[str, Any]:
        """Keyword arguments for `Client.connect` that only a profile knows."""
        return dict(self.profile.to_client_connect_config()) if self.profile else {}

    def exports(self) -> dict[str, str]:
        """The environment variables that lead other programs here."""
        found = {
            "TEMPORAL_ADDRESS": self.temporal,
            "TEMPORAL_NAMESPACE": self.namespace,
            "SYNDIC_DATABASE_URL": self.database_url,
            "SYNDIC_REDIS_URL": self.redis_url,
            "SYNDIC_STATE_DIR": str(self.state_dir),
        }
        return found if self.profile is None else {k: v for k, v in found.items() if not k.startswith("TEMPORAL_")}


class PartRecord(BaseModel):
    """One part of a stack as `stack.json` shows it."""

    source: Literal["found", "started"]
    process: ProcessId | None = None
    ports: dict[str, int] = {}
    log: str | None = None
    restarts: int = 0


class StackRecord(BaseModel):
    """The content of `stack.json`. Ports stay in it after a stop, so that a restart takes the same ones."""

    supervisor: ProcessId
    since: datetime
    ready: bool = False
    addresses: Addresses | None = None
    parts: dict[str, PartRecord] = {}


def record_path(state_dir: Path) -> Path:
    return state_dir / "stack.json"


def read_record(state_dir: Path) -> StackRecord | None:
    """The last stack's record, None where there is none or where it was damaged."""
    try:
        return StackRecord.model_validate_json(record_path(state_dir).read_bytes())
    except (OSError, ValidationError):
        return None


def write_record(state_dir: Path, record: StackRecord) -> None:
    """Replace `stack.json` as a whole; only its owner may read it, for the URLs in it."""
    write_private(record_path(state_dir), record.model_dump_json(indent=1) + "\n")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, so that a reader or a crash meets the old or the new content."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def read_addresses(state_dir: Path) -> Addresses | None:
    """Addresses of the stack that runs on this folder and is ready, else None."""
    record = read_record(state_dir)
    if record is None or not record.ready or not is_alive(record.supervisor):
        return None
    return record.addresses


def temporal_profile(settings: Settings) -> ClientConfigProfile | None:
    """The person's own Temporal, as environment or profile name it; None where they name none, or the embedded one.

    Raises:
        SettingsError: the profile or its file is malformed.
    """
    if settings.temporal_profile == OWN_PROFILE and settings.temporal_address is None:
        return None
    try:
        profile = ClientConfigProfile.load()
    except (RuntimeError, ValueError) as error:
        raise SettingsError(
            f"the Temporal configuration cannot be read: {error}. Correct TEMPORAL_PROFILE, TEMPORAL_CONFIG_FILE or the "
            "file; `temporal config list` shows its profiles."
        ) from error
    return profile if profile.address else None


def resolve(settings: Settings) -> Addresses:
    """Set variables first, the running embedded stack for the rest.

    Raises:
        NotRunningError: something is neither set nor embedded; the text names it.
        SettingsError: the Temporal profile is malformed.
    """
    profile = temporal_profile(settings)
    running = read_addresses(settings.state_dir)
    known: dict[str, Any] = running.model_dump() if running else {"namespace": "default"}
    if profile is not None:
        known |= {"temporal": profile.address, "namespace": profile.namespace or "default", "web_ui": None}
    for name in ("database_url", "owner_database_url", "redis_url"):
        if (secret := getattr(settings, name)) is not None:
            known[name] = secret.get_secret_value()
    _check_complete(known, settings)
    # an exported address of the embedded server is no reason to forget its Web UI
    if running is not None and profile is not None and profile.address == running.temporal:
        known["web_ui"] = running.web_ui
    return Addresses.model_validate({**known, "state_dir": settings.state_dir, "profile": profile})


def _check_complete(known: dict[str, Any], settings: Settings) -> None:
    variables = {
        "temporal": "TEMPORAL_ADDRESS",
        "database_url": "SYNDIC_DATABASE_URL",
        "redis_url": "SYNDIC_REDIS_URL",
    }
    missing = [variable for name, variable in variables.items() if name not in known]
    if missing:
        raise NotRunningError(
            f"no stack runs on {settings.state_dir}. Start one with `syndic up`, or set {', '.join(missing)}."
        )


def dumps(addresses: Addresses) -> str:
    """One line of JSON for programs that start a stack."""
    return json.dumps(addresses.model_dump(mode="json"))
