"""Signed decisions: keys of persons, and compact JWS (RFC 7515) with Ed25519 (RFC 9864). Pure.

Verification depends on its arguments alone, so workflows verify where they decide, and a replay finds the same again.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from joserfc.util import urlsafe_b64encode
from pydantic import AwareDatetime, ValidationError

from ledger.chain import canonical
from ledger.errors import LedgerError
from ledger.vocabulary import Answer, Brief, Money

ALGORITHM = "Ed25519"
TYPE = "syndic-decision"
"""`typ` of the header: a signature made for something else never counts as a decision."""
TOKEN_LIMIT = 100_000
"""Characters; the comment of a decision is in it."""


class SignatureError(LedgerError):
    """A key that cannot be used, or a signature that does not hold."""


class Claims(Brief):
    """What a person signs: everything of a decision that acts."""

    project: str
    approval: str
    digest: str
    decision: Answer
    by: str
    time: AwareDatetime
    comment: str = ""
    id: str | None = None
    budget_usd: Money | None = None
    budget_tokens: int | None = None


class PublicKey:
    """Verifies; `id` is its thumbprint (RFC 7638), the same whichever way the key is written down."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self.jwk: dict[str, str] = {
            "kty": "OKP",
            "crv": ALGORITHM,
            "x": urlsafe_b64encode(key.public_bytes_raw()).decode(),
        }
        self._key = OKPKey.import_key(cast("Any", self.jwk))
        self.id = self._key.thumbprint()

    def verify(self, token: str) -> Claims:
        """The claims of a token that this key has signed.

        Raises:
            SignatureError: it was not signed by it, or is no decision.
        """
        try:
            found = jws.deserialize_compact(token, self._key, algorithms=[ALGORITHM])
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise SignatureError(f"the signature does not hold: {_text(error)}") from None
        if found.headers().get("typ") != TYPE:
            raise SignatureError(f"the signature is not one of a decision (typ {TYPE})")
        try:
            return Claims.model_validate_json(found.payload)
        except ValidationError as error:
            places = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors(include_input=False))
            raise SignatureError(f"what was signed is no decision: {places or 'no JSON'}") from None


class SigningKey:
    """A person's private key. It is shown nowhere; `text` is for the person's own file."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = OKPKey.import_key(key)
        self.public = PublicKey(key.public_key())

    def __repr__(self) -> str:
        return f"SigningKey({self.public.id})"

    @property
    def text(self) -> str:
        """The private key as a JWK, in one line."""
        return json.dumps({**self._key.as_dict(private=True), "kid": self.public.id})

    def sign(self, claims: Claims) -> str:
        """A compact JWS over the claims; the same claims give the same text."""
        header = {"alg": ALGORITHM, "typ": TYPE, "kid": self.public.id}
        payload = canonical(claims.model_dump(exclude_none=True))
        return jws.serialize_compact(header, payload, self._key, algorithms=[ALGORITHM])


def new_key() -> SigningKey:
    """A key pair of the operating system's randomness."""
    return SigningKey(Ed25519PrivateKey.generate())


def read_public_key(content: str | Mapping[str, str]) -> PublicKey:
    """A public key from a JWK (as an object or as text) or a PEM.

    Raises:
        SignatureError: it is private, of another algorithm, or no key.
    """
    key = _imported(content)
    if isinstance(key, Ed25519PrivateKey):
        raise SignatureError(
            "this is a private key: name the public one, and take a new pair, since others may have read it"
        )
    return PublicKey(key)


def read_signing_key(content: str) -> SigningKey:
    """A private key from a JWK as text or a PEM without a password.

    Raises:
        SignatureError: it is public, of another algorithm, or no key.
    """
    key = _imported(content)
    if isinstance(key, Ed25519PublicKey):
        raise SignatureError("this is a public key: signing needs the private one")
    return SigningKey(key)


def key_id_of(token: str) -> str:
    """Which key a token says it was signed with; whether it was is for `PublicKey.verify` to find out.

    Raises:
        SignatureError: it is no compact JWS, or names no key.
    """
    if len(token) > TOKEN_LIMIT:
        raise SignatureError(f"the signature is longer than {TOKEN_LIMIT} characters")
    try:
        kid = jws.extract_compact(token.encode()).headers().get("kid")
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise SignatureError(f"the signature is no compact JWS: {_text(error)}") from None
    if not isinstance(kid, str):
        raise SignatureError("the signature names no key (kid)")
    return kid


def _imported(content: str | Mapping[str, str]) -> Ed25519PrivateKey | Ed25519PublicKey:
    try:
        key = OKPKey.import_key(cast("Any", _written(content)))
        raw = key.raw_value
    except (JoseError, ValueError, TypeError, KeyError, binascii.Error) as error:
        raise SignatureError(f"no Ed25519 key: {_text(error)}") from None
    if not isinstance(raw, Ed25519PrivateKey | Ed25519PublicKey):
        raise SignatureError(f"no Ed25519 key, but one of {key.curve_name}")
    return raw


def _written(content: str | Mapping[str, str]) -> str | dict[str, str]:
    if not isinstance(content, str):
        return dict(content)
    text = content.strip()
    return json.loads(text) if text.startswith("{") else text


def _text(error: Exception) -> str:
    # Of a key or a token nothing may reach a message.
    return error.description or error.error if isinstance(error, JoseError) else type(error).__name__


def amount(value: Decimal | None) -> str | None:
    """A limit as it is signed: equal amounts have equal text."""
    return None if value is None else canonical(value).strip('"')
