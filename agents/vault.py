"""Provider keys from Vault's KV version 2. A key is handed to one call and kept nowhere else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hvac
from hvac import exceptions as vault_errors
from requests.exceptions import RequestException

from agents.errors import VaultError

CACHE_S = 1.0
"""Calls within a second share one read; a rotated key is used by the next call after that."""

TIMEOUT_S = 5


@dataclass(frozen=True)
class VaultAddress:
    """Where the keys are: `path` is `<mount>/<path of the secret>`, its fields are named as LiteLLM names the keys."""

    url: str
    path: str
    namespace: str | None = None

    @property
    def mount(self) -> str:
        return self.path.split("/", 1)[0]

    @property
    def secret(self) -> str:
        return self.path.split("/", 1)[1] if "/" in self.path else ""


class VaultKeys:
    """Reads the secret anew for every call, since Vault owns its rotation."""

    def __init__(self, address: VaultAddress, token: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._address = address
        self._clock = clock
        self._client = hvac.Client(url=address.url, token=token, namespace=address.namespace, timeout=TIMEOUT_S)
        self._read_at = float("-inf")
        self._values: dict[str, str] = {}
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"VaultKeys({self._address.url}, {self._address.path})"

    async def values(self) -> dict[str, str]:
        """All fields of the secret.

        Raises:
            VaultError: Sealed, unreachable, forbidden or no such secret; the text holds no secret.
        """
        async with self._lock:
            if self._clock() - self._read_at > CACHE_S:
                self._values = await asyncio.to_thread(self._read)
                self._read_at = self._clock()
            return self._values

    def forget(self) -> None:
        """Read again at the next call: a provider refused the key."""
        self._read_at = float("-inf")

    def _read(self) -> dict[str, str]:
        where = f"Vault at {self._address.url}"
        try:
            answer: Any = self._client.secrets.kv.v2.read_secret_version(
                path=self._address.secret, mount_point=self._address.mount, raise_on_deleted_version=True
            )
            fields = answer["data"]["data"]
        except vault_errors.VaultError as error:
            # The chain is cut: a Vault error may quote the request.
            raise VaultError(f"{where} {_complaint(error, self._address.path)}") from None
        except RequestException as error:
            raise VaultError(f"{where} cannot be reached ({type(error).__name__}); check VAULT_ADDR") from None
        except (KeyError, TypeError, ValueError):
            raise VaultError(f"{where} did not answer like a KV version 2 store for {self._address.path}") from None
        return {str(name): str(value) for name, value in fields.items() if value is not None}


def _complaint(error: Exception, path: str) -> str:
    match error:
        case vault_errors.VaultDown():
            return "is sealed; unseal it and the run goes on"
        case vault_errors.Forbidden() | vault_errors.Unauthorized():
            return f"refuses the token for {path}; check VAULT_TOKEN and its policy"
        case vault_errors.InvalidPath():
            return f"has no secret at {path}; check SYNDIC_VAULT_PATH"
        case _:
            return f"answered with an error ({type(error).__name__})"
