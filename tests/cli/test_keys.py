"""`syndic keys`: a key that only its owner can read, and what a brief needs of it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from ledger.signatures import read_public_key
from tests.cli.conftest import Syndic
from workers.briefs import BriefError, parse_spec
from workers.keys import KeyFileError, read_key, write_key


def test_a_new_key_is_its_owners_alone_and_what_is_printed_fits_a_brief(syndic: Syndic, tmp_path: Path) -> None:
    file = tmp_path / "keys" / "pat.jwk"
    made = syndic("keys", "new", str(file), "--name", "pat")
    assert made.exit_code == 0, made.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    brief = json.loads(made.stdout)
    assert json.loads(file.read_text())["d"] not in made.stdout + made.stderr
    spec = parse_spec({"goal": "mend it", "repository": "/r", **brief, "approvals": {"plan": {"signed": True}}})
    assert spec.approvers[0].name == "pat"
    shown = json.loads(syndic("keys", "show", str(file), "--name", "pat", "--json").stdout)
    assert read_public_key(shown["key"]).id == read_key(file).public.id


def test_a_key_is_never_overwritten(syndic: Syndic, tmp_path: Path) -> None:
    file = tmp_path / "pat.jwk"
    key = write_key(file)
    again = syndic("keys", "new", str(file))
    assert (again.exit_code, "never overwritten" in again.stderr) == (2, True)
    assert read_key(file).public.id == key.public.id


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pat.jwk"
    write_key(file)
    for mode in (0o640, 0o604, 0o620):
        file.chmod(mode)
        with pytest.raises(KeyFileError, match="chmod 600"):
            read_key(file)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"", "no Ed25519 key"), (b"\xff\xfe", "it is no text"), (b'{"kty": "OKP"}', "no Ed25519 key")],
)
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    file = tmp_path / "pat.jwk"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(KeyFileError, match=complaint):
        read_key(file)


def test_a_missing_key_is_said(syndic: Syndic, tmp_path: Path) -> None:
    found = syndic("keys", "show", str(tmp_path / "none"))
    assert (found.exit_code, "No such file" in found.stderr) == (2, True)


def test_a_brief_whose_rules_nobody_can_keep_is_refused_when_it_is_read() -> None:
    with pytest.raises(BriefError, match=r"approvals.merge: quorum 2 needs 2 of `approvers` with a key"):
        parse_spec({"goal": "mend it", "repository": "/r", "approvals": {"merge": {"quorum": 2}}})
