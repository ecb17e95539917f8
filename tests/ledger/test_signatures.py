"""Signed decisions: keys however they are written, signatures that hold, and everything that does not."""

from __future__ import annotations

import base64
import json
import string
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import OKPKey

from ledger.signatures import (
    TOKEN_LIMIT,
    Claims,
    SignatureError,
    SigningKey,
    key_id_of,
    new_key,
    read_public_key,
    read_signing_key,
)
from ledger.vocabulary import Answer

KEY = new_key()
CLAIMS = Claims(
    project="p",
    approval="p.budget-1",
    digest="0" * 64,
    decision=Answer.APPROVE,
    by="pat",
    time=datetime(2030, 1, 1, tzinfo=UTC),
    comment="go on",
    id="d-1",
    budget_usd=Decimal("7.50"),
)
TOKEN = KEY.sign(CLAIMS)


def signed(header: dict[str, Any], payload: Any, key: SigningKey = KEY) -> str:
    """A token as somebody else would make it."""
    private = OKPKey.import_key(json.loads(key.text))
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return jws.serialize_compact({"kid": key.public.id, **header}, text, private, algorithms=["Ed25519", "EdDSA"])


def test_a_signature_holds_under_its_own_key_and_brings_back_what_was_signed() -> None:
    assert key_id_of(TOKEN) == KEY.public.id
    assert KEY.public.verify(TOKEN) == CLAIMS
    assert KEY.sign(CLAIMS) == TOKEN


def test_a_signature_of_somebody_else_does_not_hold() -> None:
    with pytest.raises(SignatureError, match="does not hold"):
        new_key().public.verify(TOKEN)


def test_equal_amounts_are_signed_with_equal_text() -> None:
    other = CLAIMS.model_copy(update={"budget_usd": Decimal("7.5")})
    assert KEY.sign(other) == TOKEN


@given(st.integers(0, len(TOKEN) - 1), st.characters(min_codepoint=33, max_codepoint=126))
def test_no_character_of_a_token_can_be_changed(place: int, character: str) -> None:
    changed = TOKEN[:place] + character + TOKEN[place + 1 :]
    try:
        claims = KEY.public.verify(changed)
    except SignatureError:
        return
    # The last character of a part holds bits that say nothing.
    assert claims == CLAIMS


@given(st.text(max_size=300) | st.lists(st.text(max_size=40), max_size=4).map(".".join))
def test_what_is_no_token_is_refused_and_never_raises_otherwise(text: str) -> None:
    for refuse in (key_id_of, KEY.public.verify):
        with pytest.raises(SignatureError):
            refuse(text)


@pytest.mark.parametrize(
    ("header", "payload", "reason"),
    [
        ({"alg": "Ed25519"}, CLAIMS.model_dump(mode="json"), "not one of a decision"),
        ({"alg": "Ed25519", "typ": "JWT"}, CLAIMS.model_dump(mode="json"), "not one of a decision"),
        ({"alg": "Ed25519", "typ": "syndic-decision"}, "no json", "is no decision"),
        ({"alg": "Ed25519", "typ": "syndic-decision"}, {"approval": "x"}, "is no decision"),
        ({"alg": "Ed25519", "typ": "syndic-decision"}, {**CLAIMS.model_dump(mode="json"), "more": 1}, "more"),
        ({"alg": "Ed25519", "typ": "syndic-decision"}, {**CLAIMS.model_dump(mode="json"), "time": "2030-01-01T00:00:00"}, "time"),
    ],
)  # fmt: skip
def test_a_signature_under_something_else_is_no_decision(header: dict[str, Any], payload: Any, reason: str) -> None:
    with pytest.raises(SignatureError, match=reason):
        KEY.public.verify(signed(header, payload))


def test_tokens_without_a_signature_or_key_or_of_any_size_are_refused() -> None:
    head, payload, _ = TOKEN.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"syndic-decision"}').rstrip(b"=").decode()
    for token in (f"{head}.{payload}.", f"{none}.{payload}."):
        with pytest.raises(SignatureError):
            KEY.public.verify(token)
    with pytest.raises(SignatureError, match="names no key"):
        key_id_of(f"{none}.{payload}.")
    with pytest.raises(SignatureError, match="longer than"):
        key_id_of("x" * (TOKEN_LIMIT + 1))


def pems(key: SigningKey) -> tuple[bytes, bytes, bytes]:
    """Private and public part as other tools write them."""
    private = OKPKey.import_key(json.loads(key.text)).private_key
    assert private is not None
    public = private.public_key()
    return (
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b" pat@example",
    )


def test_a_key_is_the_same_one_in_every_form() -> None:
    private, public, openssh = (text.decode() for text in pems(KEY))
    jwk = KEY.public.jwk
    forms = [public, openssh, jwk, json.dumps(jwk), {**jwk, "kid": "another", "use": "sig"}]
    assert {read_public_key(form).id for form in forms} == {KEY.public.id}
    assert {read_signing_key(form).public.id for form in (private, KEY.text)} == {KEY.public.id}


def test_one_key_cannot_be_written_as_two() -> None:
    jwk = KEY.public.jwk
    # 32 bytes leave two bits of the last character that say nothing.
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    for x in (f"{jwk['x']}=", jwk["x"][:-1] + alphabet[alphabet.index(jwk["x"][-1]) | 1]):
        try:
            assert read_public_key({**jwk, "x": x}).id == KEY.public.id
        except SignatureError:
            continue


def test_a_private_key_has_no_place_in_a_brief_and_its_text_in_no_message() -> None:
    for text in (KEY.text, pems(KEY)[0].decode()):
        with pytest.raises(SignatureError, match="private key") as refused:
            read_public_key(text)
        assert json.loads(KEY.text)["d"] not in str(refused.value)
    assert json.loads(KEY.text)["d"] not in repr(KEY)
    with pytest.raises(SignatureError, match="public key"):
        read_signing_key(json.dumps(KEY.public.jwk))


EC = generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    "content",
    ["", "x", "{", "{}", "[]", '{"kty": "OKP"}', {"kty": "OKP", "crv": "Ed25519", "x": "aa"},
     {"kty": "OKP", "crv": "Ed448", "x": "aa"},
     {"kty": "RSA", "n": "x", "e": "AQAB"}, EC.decode(), "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----",
     {"kty": "OKP", "crv": "Ed25519", "x": "é"}, '{"kty": "OKP", "crv": "Ed25519", "x": 5}', "ssh-ed25519 AAAA pat"],
)  # fmt: skip
def test_what_is_no_ed25519_key_is_refused(content: Any) -> None:
    for read in (read_public_key, read_signing_key):
        with pytest.raises(SignatureError, match="no Ed25519 key"):
            read(content)
