"""Files with private keys: made so that nobody else can read them, and refused where somebody could."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ledger.signatures import SignatureError, SigningKey, new_key, read_signing_key
from workers.errors import WorkersError

OTHERS = stat.S_IRWXG | stat.S_IRWXO
SIZE_LIMIT = 100_000
"""Bytes; no key is larger."""


class KeyFileError(WorkersError):
    """The key file cannot be used."""

    exit_code = 2


def write_key(path: Path) -> SigningKey:
    """Make a key pair and keep its private part in a new file that only its owner can read.

    Raises:
        KeyFileError: The file exists already, or cannot be written.
    """
    key = new_key()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyFileError(f"{path} exists; a key is never overwritten, name another file") from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}") from None
    with os.fdopen(file, "w", encoding="ascii") as stream:
        stream.write(key.text + "\n")
    return key


def read_key(path: Path) -> SigningKey:
    """The private key in a file (JWK, or PEM without a password).

    Raises:
        KeyFileError: It is missing, readable by others, or holds no private Ed25519 key.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            # Of the open file, so that nobody changes it between the look and the reading.
            mode = os.fstat(stream.fileno()).st_mode
            if mode & OTHERS:
                raise KeyFileError(f"{path} can be read or changed by others; say chmod 600 {path}")
            text = stream.read(SIZE_LIMIT)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise KeyFileError(f"{path} holds no key: it is no text") from None
    try:
        return read_signing_key(text)
    except SignatureError as error:
        raise KeyFileError(f"{path}: {error}") from None
