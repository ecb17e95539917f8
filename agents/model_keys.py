"""Where provider keys come from: the environment as LiteLLM names it, or Vault. A key is handed to one call at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from agents.errors import NoModelKeyError

if TYPE_CHECKING:
    from agents.vault import VaultKeys


@dataclass(frozen=True)
class Wanted:
    """What a model needs. `missing` names the environment variables that LiteLLM would read and that are not set."""

    model: str
    provider: str
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Access:
    """What one call is given; None leaves it to LiteLLM, which reads its own environment variables."""

    api_key: str | None = field(default=None, repr=False)
    api_base: str | None = None


class KeySource(Protocol):
    """Asked before every call, so that a rotated key is used at once."""

    async def access(self, wanted: Wanted) -> Access:
        """Raises NoModelKeyError, or VaultError where the source cannot be read."""
        ...

    def refused(self) -> None:
        """A provider refused the key: do not use a kept copy again."""
        ...


class EnvironmentKeys:
    """Keys in the process environment; LiteLLM reads them itself."""

    async def access(self, wanted: Wanted) -> Access:
        if wanted.missing:
            names = " or ".join(wanted.missing)
            raise NoModelKeyError(f"model {wanted.model} needs {names} in the environment of the agent workers")
        return Access()

    def refused(self) -> None:
        """Nothing is kept."""


class VaultAccess:
    """Keys from Vault: the fields of one secret, named like the environment variables that LiteLLM would read."""

    def __init__(self, keys: VaultKeys) -> None:
        self._keys = keys

    async def access(self, wanted: Wanted) -> Access:
        values = await self._keys.values()
        prefix = wanted.provider.upper()
        names = tuple(dict.fromkeys((*wanted.missing, f"{prefix}_API_KEY")))
        key = next((values[name] for name in names if name in values and name.endswith("_KEY")), None)
        base = values.get(f"{prefix}_API_BASE")
        if key is None and base is None:
            raise NoModelKeyError(f"model {wanted.model} needs a field {' or '.join(names)} in the secret in Vault")
        return Access(key, base)

    def refused(self) -> None:
        self._keys.forget()
