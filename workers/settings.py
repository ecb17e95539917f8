"""Every setting of Syndic, read from the environment in one place."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from agents.roles import MODEL_CLASSES, without_classes
from agents.runs import TimeLimits
from ledger.vocabulary import Record, Role
from workers.errors import SettingsError
from workers.prices import ModelPrice, read_prices

OWN_PROFILE = "syndic"
"""The Temporal CLI profile that `syndic up` writes."""

DEFAULT_CHAIN = "default"
"""The key in `models` for roles that have no chain of their own."""

EXAMPLES = {
    "SYNDIC_STATE_DIR": "/home/me/.local/state/syndic",
    "SYNDIC_DATABASE_URL": "postgresql://syndic:password@127.0.0.1:5432/syndic",
    "SYNDIC_OWNER_DATABASE_URL": "postgresql://syndic_owner:password@127.0.0.1:5432/syndic",
    "SYNDIC_REDIS_URL": "redis://:password@127.0.0.1:6379/0",
    "SYNDIC_MODELS": '{"default": ["openai/gpt-5-mini"], "engineer": ["anthropic/claude-sonnet-4-5"]}',
    "SYNDIC_PRICES": '{"openai/my-own": {"prompt": 1.25, "completion": 10, "cached": 0.125}}',
    "SYNDIC_STREAM": "0",
    "SYNDIC_UNSAFE_COMMANDS": "1",
    "SYNDIC_LOG_LEVEL": "info",
    "SYNDIC_LOG_FORMAT": "json",
    "SYNDIC_VAULT_PATH": "secret/syndic/models",
    "SYNDIC_AGENT_SLOTS": "50",
    "SYNDIC_TOOL_SLOTS": "4",
    "SYNDIC_CACHED_WORKFLOWS": "1000",
    "SYNDIC_THINKING_S": "300",
    "SYNDIC_EXECUTING_S": "600",
    "SYNDIC_BLOCKED_S": "1800",
    "VAULT_ADDR": "https://vault.example.org:8200",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
    "TEMPORAL_ADDRESS": "127.0.0.1:7233",
}

PROVIDER_KEY_SUFFIXES = ("_API_KEY", "_API_TOKEN")
NOT_MODEL_KEYS = frozenset({"TEMPORAL_API_KEY"})


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    JSON = "json"
    CONSOLE = "console"


def _address_of(*schemes: str) -> AfterValidator:
    def check(value: SecretStr | str) -> SecretStr | str:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        parts = urlsplit(text)
        if parts.scheme not in schemes or not (parts.hostname or parts.scheme == "unix" or "host=" in parts.query):
            raise ValueError(f"must be an address that begins with {' or '.join(f'{name}://' for name in schemes)}")
        return value

    return AfterValidator(check)


class Recording(Record):
    """A file that models' answers are kept in (`record`) or served from (`replay`)."""

    mode: Literal["record", "replay"]
    path: Path


_RECORDING = re.compile(r"(?P<mode>record|replay):(?P<path>[^;]+)(?:;(?P<chains>.*))?", re.DOTALL)


def _recording(value: Any) -> Any:
    """What `record:FILE`, `record:FILE;CHAINS` or `replay:FILE` names; None for anything else."""
    if not isinstance(value, str):
        return value
    match = _RECORDING.fullmatch(value.strip())
    return match and {"mode": match["mode"], "path": _absolute(Path(match["path"].strip()))}


def _host_and_port(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or "://" in value or not port.isdigit():
        raise ValueError("must be host:port")
    return value


def _chains(value: Any) -> Any:
    """Models by role from a JSON object, or one comma-separated chain for all roles; also behind `record:FILE;`."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if match := _RECORDING.fullmatch(text):
        text = (match["chains"] or "").strip()
        if text and match["mode"] == "replay":
            raise ValueError("replay:FILE takes the models from the recording; leave out what follows the file")
        if not text:
            return {}
    parsed: Any = {DEFAULT_CHAIN: text}
    if text[:1] in {"{", "["}:
        try:
            parsed = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"is not valid JSON: {error}") from error
    if isinstance(parsed, list):
        parsed = {DEFAULT_CHAIN: parsed}
    return without_classes({role: _chain(role, chain) for role, chain in parsed.items()})


def _chain(role: str, chain: Any) -> tuple[str, ...]:
    known = [DEFAULT_CHAIN, *(known.value for known in Role), *MODEL_CLASSES]
    if role not in known:
        raise ValueError(f"unknown role {role!r}; the roles and classes are {', '.join(known)}")
    names = chain.split(",") if isinstance(chain, str) else chain
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f"the chain of {role!r} must be a list of model names")
    return tuple(name.strip() for name in names)


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


DatabaseUrl = Annotated[SecretStr, _address_of("postgresql", "postgres")]
RedisUrl = Annotated[SecretStr, _address_of("redis", "rediss", "unix")]
HttpUrl = Annotated[str, _address_of("http", "https")]


class Settings(BaseSettings):
    """What the environment says; an empty variable counts as not set. Secrets never show in a repr or a log."""

    model_config = SettingsConfigDict(
        env_prefix="SYNDIC_", env_ignore_empty=True, extra="ignore", frozen=True, populate_by_name=True
    )

    state_dir: Annotated[Path, AfterValidator(_absolute)] = Field(
        default_factory=lambda: Path(platformdirs.user_state_dir("syndic"))
    )
    database_url: DatabaseUrl | None = None
    """The role that workers use. It must not own the tables."""
    owner_database_url: DatabaseUrl | None = None
    """The role that owns the schema; only migrations use it."""
    redis_url: RedisUrl | None = None
    models: Annotated[dict[str, tuple[str, ...]], NoDecode, BeforeValidator(_chains)] = {}
    recording: Annotated[Recording | None, NoDecode, BeforeValidator(_recording)] = Field(
        default=None, validation_alias=AliasChoices("SYNDIC_MODELS")
    )
    """Where models' answers are recorded or replayed; the same variable as `models`."""
    prices: Annotated[dict[str, ModelPrice], NoDecode, BeforeValidator(read_prices)] = {}
    """For models that LiteLLM's price list lacks or has wrong; what stands here counts."""
    stream: bool = True
    """Ask models for streams where their protocol is known, so that the live feed shows answers while they come."""
    unsafe_commands: bool = False
    log_level: LogLevel = LogLevel.INFO
    log_format: LogFormat = LogFormat.JSON
    agent_slots: int = Field(default=50, ge=1, le=10_000)
    """Agents that one worker process runs side by side."""
    database_connections: int = Field(default=8, ge=2, le=200)
    """Connections to Postgres that one worker process may open."""
    tool_slots: int = Field(default=4, ge=1, le=1000)
    """Git, gate and program activities that one worker process runs side by side."""
    cached_workflows: int = Field(default=1000, ge=1, le=100_000)
    """Open workflows that one worker process keeps in memory, about 1 MB each; others are rebuilt from their histories."""
    vault_path: str = "secret/syndic/models"
    vault_addr: HttpUrl | None = Field(default=None, validation_alias=AliasChoices("vault_addr", "VAULT_ADDR"))
    vault_token: SecretStr | None = Field(default=None, validation_alias=AliasChoices("vault_token", "VAULT_TOKEN"))
    otlp_endpoint: HttpUrl | None = Field(
        default=None, validation_alias=AliasChoices("otlp_endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT")
    )
    temporal_address: Annotated[str, AfterValidator(_host_and_port)] | None = Field(
        default=None, validation_alias=AliasChoices("temporal_address", "TEMPORAL_ADDRESS")
    )
    temporal_namespace: str | None = Field(
        default=None, validation_alias=AliasChoices("temporal_namespace", "TEMPORAL_NAMESPACE")
    )
    temporal_profile: str | None = Field(
        default=None, validation_alias=AliasChoices("temporal_profile", "TEMPORAL_PROFILE")
    )

    temporal_config_file: Annotated[Path, AfterValidator(_absolute)] = Field(
        default_factory=lambda: platformdirs.user_config_path("temporalio") / "temporal.toml",
        validation_alias=AliasChoices("temporal_config_file", "TEMPORAL_CONFIG_FILE"),
    )
    """Where the `temporal` command and temporalio.envconfig look for profiles."""

    thinking_s: int = Field(default=300, gt=0)
    """One answer of a model."""
    executing_s: int = Field(default=600, gt=0)
    """One tool call."""
    blocked_s: int = Field(default=1800, gt=0)
    """Waiting for a colleague."""

    def limits(self) -> TimeLimits:
        """How long an agent may stay in one state, where the brief says nothing."""
        return TimeLimits(thinking_s=self.thinking_s, executing_s=self.executing_s, blocked_s=self.blocked_s)

    def slots(self, queue: str) -> int:
        """How many activities of a task queue one worker process runs side by side."""
        return self.tool_slots if queue.endswith("-tools") else self.agent_slots


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        SettingsError: names every malformed variable, what is wrong with it, and an example. It holds no values.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("\n".join(_explained(item) for item in error.errors(include_input=False))) from None


def _explained(error: Mapping[str, Any]) -> str:
    name = str(error["loc"][0]) if error["loc"] else "settings"
    variable = name if name.isupper() else _variable(name)
    reason = str(error["msg"]).removeprefix("Value error, ")
    example = f" (example: {variable}={EXAMPLES[variable]})" if variable in EXAMPLES else ""
    return f"{variable} is malformed: {reason}{example}"


def _variable(field: str) -> str:
    alias = Settings.model_fields[field].validation_alias if field in Settings.model_fields else None
    if isinstance(alias, AliasChoices):
        return str(alias.choices[-1])
    return f"SYNDIC_{field.upper()}"


def known_variables() -> frozenset[str]:
    """The names of all variables that `Settings` reads."""
    return frozenset(_variable(name) for name in Settings.model_fields)


def unknown_variables() -> list[str]:
    """Variables that look like ours and are not: most likely misspelt."""
    return sorted(name for name in os.environ if name.startswith("SYNDIC_") and name not in known_variables())


def model_keys() -> list[str]:
    """Names of the provider keys that are set, never their values."""
    return sorted(
        name
        for name, value in os.environ.items()
        if value and name.endswith(PROVIDER_KEY_SUFFIXES) and name not in NOT_MODEL_KEYS
    )


def secret_values(settings: Settings) -> list[str]:
    """Provider keys and tokens that this process was given, for what must never be written down."""
    values = [os.environ[name] for name in model_keys()]
    return [*values, settings.vault_token.get_secret_value()] if settings.vault_token else values


def inherited_environment() -> dict[str, str]:
    """This process's own, for children that work in another folder: paths in it are absolute."""
    kept = dict(os.environ)
    if state_dir := kept.get("SYNDIC_STATE_DIR"):
        kept["SYNDIC_STATE_DIR"] = str(_absolute(Path(state_dir)))
    if match := _RECORDING.fullmatch(kept.get("SYNDIC_MODELS", "").strip()):
        path = str(_absolute(Path(match["path"].strip())))
        chains = f";{match['chains']}" if match["chains"] else ""
        kept["SYNDIC_MODELS"] = f"{match['mode']}:{path}{chains}"
    return kept


def plain_environment() -> dict[str, str]:
    """For servers: what programs need of a machine, and no key of anything."""
    wanted = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "LOGNAME")
    return {name: os.environ[name] for name in wanted if name in os.environ}


def worker_environment(addresses: Mapping[str, str]) -> dict[str, str]:
    """For worker processes: everything but what only migrations may use; the working folder is not importable.

    Args:
        addresses: variables that lead to the servers. Where they name Temporal, nothing else may say how to reach it.
    """
    kept = inherited_environment()
    kept.pop("SYNDIC_OWNER_DATABASE_URL", None)
    if "TEMPORAL_ADDRESS" in addresses:
        kept = {name: value for name, value in kept.items() if not name.startswith("TEMPORAL_")}
    return {**kept, **addresses, "PYTHONSAFEPATH": "1"}
