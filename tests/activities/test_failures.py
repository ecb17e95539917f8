"""What goes into a history when something fails: bounded, scrubbed, retryable or not."""

from __future__ import annotations

import pytest
from temporalio.exceptions import ApplicationError

from activities.contracts import NOT_RETRYABLE
from activities.failures import TEXT_LIMIT, scrub, translated
from agents.errors import RepositoryError, SandboxMissingError, SetupFailedError
from ledger.errors import LeaseHeldError, StoreUnreachableError


@pytest.mark.parametrize(
    "secret",
    ["sk-abcdefghijklmnop", "hvs.CAESIJabcdefghij", "ghp_0123456789abcdef"],
)
def test_keys_are_scrubbed_wherever_they_stand(secret: str) -> None:
    assert secret not in scrub(f"the provider said: invalid {secret} given")


def test_a_password_in_an_address_is_scrubbed_and_the_host_stays() -> None:
    assert scrub("postgresql://syndic:hunter22@db:5432/x") == "postgresql://[secret]@db:5432/x"


def test_long_text_is_cut_and_says_how_long_it_was() -> None:
    text = scrub("x" * 10_000)
    assert len(text) < TEXT_LIMIT + 50
    assert "10000 characters" in text


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RepositoryError("no repository"), "InvalidRepository"),
        (SetupFailedError("pip install x", 1, "boom"), "SetupFailed"),
        (SandboxMissingError("no bwrap"), "SandboxMissing"),
    ],
)
def test_what_no_retry_can_mend_ends_the_activity(error: Exception, kind: str) -> None:
    with pytest.raises(ApplicationError) as caught, translated():
        raise error
    assert caught.value.type == kind
    assert caught.value.non_retryable
    assert kind in NOT_RETRYABLE


def test_an_unreachable_store_is_tried_again() -> None:
    with pytest.raises(ApplicationError) as caught, translated():
        raise StoreUnreachableError
    assert not caught.value.non_retryable


def test_a_held_lease_is_tried_again_when_it_may_have_ended() -> None:
    with pytest.raises(ApplicationError) as caught, translated():
        raise LeaseHeldError("t", "other", 3.0)
    delay = caught.value.next_retry_delay
    assert delay is not None
    assert delay.total_seconds() == 3.0


def test_the_chain_that_could_carry_a_secret_is_cut() -> None:
    error = StoreUnreachableError("down")
    error.__cause__ = ValueError("password=hunter2222")
    with pytest.raises(ApplicationError) as caught, translated():
        raise error
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
