"""The Temporal CLI profile: everything else in the file stays as it was."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from temporalio.envconfig import ClientConfig

from workers.stack.errors import StackError
from workers.stack.profile import write_profile

OTHERS = """# my servers
[profile.default]
address = "cloud.example.org:7233"
api_key = "kept" # do not touch

[profile.default.tls]
server_name = "x"
"""


def test_a_new_file_is_private_and_is_read_by_the_sdk(tmp_path: Path) -> None:
    file = tmp_path / "temporalio" / "temporal.toml"
    write_profile(file, "syndic", "127.0.0.1:7233", "default")
    profile = ClientConfig.load(config_source=file).profiles["syndic"]
    assert (profile.address, profile.namespace) == ("127.0.0.1:7233", "default")
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "own",
    [
        "",
        '[profile.syndic]\naddress = "old:1"\n\n',
        '[profile."syndic"]\naddress = "old:1"\n[profile.syndic.tls]\ndisabled = true\n',
    ],
)
def test_other_profiles_and_comments_stay(tmp_path: Path, own: str) -> None:
    file = tmp_path / "temporal.toml"
    file.write_text(own + OTHERS)
    write_profile(file, "syndic", "127.0.0.1:9", "team")
    text = file.read_text()
    assert text.startswith(OTHERS.rstrip("\n"))
    assert tomllib.loads(text)["profile"]["syndic"] == {"address": "127.0.0.1:9", "namespace": "team"}


def test_what_the_temporal_command_wrote_is_understood(tmp_path: Path) -> None:
    file = tmp_path / "temporal.toml"
    file.write_text('[profile]\n  [profile.syndic]\n    address = "old:1"\n  [profile.work]\n    address = "w:1"\n')
    write_profile(file, "syndic", "127.0.0.1:9", "default")
    profiles = tomllib.loads(file.read_text())["profile"]
    assert profiles["work"] == {"address": "w:1"}
    assert profiles["syndic"]["address"] == "127.0.0.1:9"


@pytest.mark.parametrize("content", ["[profile", '[profile]\nsyndic = { address = "x:1" }\n'])
def test_a_file_that_cannot_be_changed_safely_is_left_alone(tmp_path: Path, content: str) -> None:
    file = tmp_path / "temporal.toml"
    file.write_text(content)
    with pytest.raises(StackError, match="left alone"):
        write_profile(file, "syndic", "127.0.0.1:9", "default")
    assert file.read_text() == content
