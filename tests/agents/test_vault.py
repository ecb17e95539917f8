"""Provider keys from Vault, at the HTTP level: a small server that speaks KV version 2."""

from __future__ import annotations

import os
from collections.abc import Iterator
from decimal import Decimal

import pytest
import structlog

from agents.errors import ModelRefusedError, NoModelKeyError, VaultError
from agents.gateway import Gateway
from agents.model_keys import VaultAccess, Wanted
from agents.models import ModelRequest
from agents.pricing import Price
from agents.vault import VaultAddress, VaultKeys
from tests.agents.scripted import Says, scripted
from tests.support.vault import KEY, PATH, TOKEN, FakeVault, serving

WANTED = Wanted("openai/x", "openai", ("OPENAI_API_KEY",))
REQUEST = ModelRequest(purpose="test", messages=({"role": "user", "content": "hello"},))


@pytest.fixture
def vault() -> Iterator[FakeVault]:
    fake = FakeVault()
    with serving(fake):
        yield fake


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def keys(vault: FakeVault, *, token: str = TOKEN, path: str = PATH, clock: Clock | None = None) -> VaultKeys:
    return VaultKeys(VaultAddress(vault.url, path), token, clock or Clock())


async def test_a_rotated_key_is_used_on_the_next_call(vault: FakeVault) -> None:
    clock = Clock()
    access = VaultAccess(keys(vault, clock=clock))
    prices = {"openai/x": Price(Decimal(0), Decimal(0))}
    with scripted() as server:
        vault.fields["OPENAI_API_BASE"] = server.url
        gateway = Gateway(access, prices=prices)
        server.queue = [Says("a"), Says("b")]
        await gateway.complete(REQUEST, ("openai/x",))
        vault.fields["OPENAI_API_KEY"] = "sk-rotated-9876543210"
        clock.now += 1.1
        await gateway.complete(REQUEST, ("openai/x",))
        await gateway.close()
    assert server.keys == [f"Bearer {KEY}", "Bearer sk-rotated-9876543210"]


async def test_a_refused_key_is_read_again_at_once(vault: FakeVault) -> None:
    access = VaultAccess(keys(vault))
    with scripted() as server:
        vault.fields["OPENAI_API_BASE"] = server.url
        gateway = Gateway(access, prices={"openai/x": Price(Decimal(0), Decimal(0))})
        server.queue = [Says(f"bad key {KEY}", status=401), Says("b")]
        with pytest.raises(ModelRefusedError) as caught:
            await gateway.complete(REQUEST, ("openai/x",))
        assert KEY not in str(caught.value)
        vault.fields["OPENAI_API_KEY"] = "sk-rotated-9876543210"
        await gateway.complete(REQUEST, ("openai/x",))
        await gateway.close()
    assert server.keys[-1] == "Bearer sk-rotated-9876543210"


async def test_calls_within_a_second_share_one_read(vault: FakeVault) -> None:
    access = VaultAccess(keys(vault))
    for _ in range(5):
        await access.access(WANTED)
    assert vault.reads == 1


async def test_a_sealed_vault_is_a_clear_error(vault: FakeVault) -> None:
    vault.sealed = True
    with pytest.raises(VaultError, match="sealed"):
        await keys(vault).values()


async def test_a_refused_token_is_a_clear_error_without_the_token(vault: FakeVault) -> None:
    with pytest.raises(VaultError, match="VAULT_TOKEN") as caught:
        await keys(vault, token="hvs.wrong-token-0123").values()
    assert "hvs.wrong" not in f"{caught.value!r} {caught.value.__cause__}"


async def test_a_missing_secret_says_where_it_was_looked_for(vault: FakeVault) -> None:
    with pytest.raises(VaultError, match="secret/syndic/nothing"):
        await keys(vault, path="secret/syndic/nothing").values()


async def test_an_unreachable_vault_is_a_clear_error() -> None:
    fake = FakeVault()
    with serving(fake):
        pass
    with pytest.raises(VaultError, match="cannot be reached"):
        await keys(fake).values()


async def test_a_missing_field_says_which(vault: FakeVault) -> None:
    vault.fields = {"ANTHROPIC_API_KEY": "x"}
    with pytest.raises(NoModelKeyError, match="OPENAI_API_KEY"):
        await VaultAccess(keys(vault)).access(WANTED)


async def test_the_key_is_in_no_log_no_repr_and_no_environment(
    vault: FakeVault, capsys: pytest.CaptureFixture[str]
) -> None:
    source = keys(vault)
    access = await VaultAccess(source).access(WANTED)
    with structlog.testing.capture_logs() as logs:
        await source.values()
    assert access.api_key == KEY
    shown = f"{access!r} {source!r} {logs} {capsys.readouterr()}"
    assert KEY not in shown
    assert TOKEN not in shown
    assert KEY not in os.environ.values()
