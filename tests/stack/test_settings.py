"""Settings: what a malformed variable is told, and what never shows."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from agents.pricing import Price
from workers.errors import SettingsError
from workers.settings import load_settings, model_keys, unknown_variables, worker_environment

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SYNDIC_DATABASE_URL", "mysql://me:s3cret@host/db"),
        ("SYNDIC_REDIS_URL", "s3cret"),
        ("SYNDIC_MODELS", '{"enginer": ["s3cret"]}'),
        ("SYNDIC_MODELS", "{s3cret"),
        ("SYNDIC_MODELS", '{"engineer": ["fast"]}'),
        ("SYNDIC_MODELS", '{"fast": ["cheap"], "cheap": ["a/b"]}'),
        ("SYNDIC_PRICES", "{s3cret"),
        ("SYNDIC_PRICES", '["s3cret"]'),
        ("SYNDIC_PRICES", '{"openai/x": {"prompt": "s3cret", "completion": 1}}'),
        ("SYNDIC_PRICES", '{"openai/x": {"prompt": 1}}'),
        ("SYNDIC_PRICES", '{"openai/x": {"prompt": 1, "completion": -1}}'),
        ("SYNDIC_UNSAFE_COMMANDS", "s3cret"),
        ("SYNDIC_LOG_LEVEL", "s3cret"),
        ("SYNDIC_AGENT_SLOTS", "0"),
        ("VAULT_ADDR", "s3cret"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "s3cret:4318"),
        ("TEMPORAL_ADDRESS", "http://s3cret"),
    ],
)
def test_a_malformed_variable_is_named_with_the_reason_and_an_example(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    text = str(refused.value)
    assert text.startswith(f"{variable} is malformed: ")
    assert f"(example: {variable}=" in text
    assert "s3cret" not in text
    assert refused.value.exit_code == 2


def test_all_malformed_variables_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNDIC_LOG_LEVEL", "loud")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "somewhere")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert len(str(refused.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "chains"),
    [
        ("a/b, c/d", {"default": ("a/b", "c/d")}),
        ('["a/b"]', {"default": ("a/b",)}),
        ('{"engineer": ["a/b"], "default": "c/d,e/f"}', {"engineer": ("a/b",), "default": ("c/d", "e/f")}),
        (
            '{"engineer": ["fast", "a/b"], "default": "fast", "fast": ["c/d", "e/f"]}',
            {"engineer": ("c/d", "e/f", "a/b"), "default": ("c/d", "e/f")},
        ),
        ("", {}),
    ],
)
def test_models_are_one_chain_for_all_or_chains_by_role(
    text: str, chains: dict[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNDIC_MODELS", text)
    assert load_settings().models == chains


def test_a_price_for_a_million_tokens_becomes_one_for_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNDIC_PRICES", '{"openai/own": {"prompt": 0.1, "completion": 10, "cached": 0.01}}')
    price = load_settings().prices["openai/own"].rates()
    assert price == Price(Decimal("1e-7"), Decimal("1e-5"), cached=Decimal("1e-8"))


@pytest.mark.parametrize(
    ("text", "mode", "chains"),
    [
        ("record:run.jsonl", "record", {}),
        ("record:run.jsonl;a/b,c/d", "record", {"default": ("a/b", "c/d")}),
        ('record:run.jsonl;{"engineer": ["a/b"]}', "record", {"engineer": ("a/b",)}),
        ("replay:run.jsonl", "replay", {}),
    ],
)
def test_models_can_be_recorded_and_replayed(
    text: str, mode: str, chains: dict[str, tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNDIC_MODELS", text)
    settings = load_settings()
    assert settings.recording is not None
    assert (settings.recording.mode, settings.recording.path) == (mode, tmp_path / "run.jsonl")
    assert settings.models == chains
    told = worker_environment({})["SYNDIC_MODELS"]  # a worker's own folder is another one
    assert told == text.replace("run.jsonl", str(tmp_path / "run.jsonl"))


def test_a_replay_takes_its_models_from_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNDIC_MODELS", "replay:run.jsonl;a/b")
    with pytest.raises(SettingsError, match="takes the models from the recording"):
        load_settings()


def test_models_alone_are_neither_recorded_nor_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNDIC_MODELS", "a/b")
    assert load_settings().recording is None


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNDIC_DATABASE_URL", "postgresql://me:s3cret@host/db")
    monkeypatch.setenv("VAULT_TOKEN", "s3cret")
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret")
    assert "s3cret" not in f"{load_settings()!r} {load_settings().model_dump()} {model_keys()}"
    assert "OPENAI_API_KEY" in model_keys()


def test_a_misspelt_variable_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNDIC_DATABSE_URL", "postgresql://me@host/db")
    assert unknown_variables() == ["SYNDIC_DATABSE_URL"]


def test_workers_do_not_get_the_owner_of_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNDIC_OWNER_DATABASE_URL", "postgresql://owner:s3cret@host/db")
    monkeypatch.setenv("TEMPORAL_PROFILE", "elsewhere")
    environment = worker_environment({"TEMPORAL_ADDRESS": "127.0.0.1:1"})
    assert "SYNDIC_OWNER_DATABASE_URL" not in environment
    assert "TEMPORAL_PROFILE" not in environment
    assert environment["TEMPORAL_ADDRESS"] == "127.0.0.1:1"
    assert environment["PYTHONSAFEPATH"] == "1"


def test_the_state_folder_is_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNDIC_STATE_DIR", "relative")
    assert load_settings().state_dir == Path.cwd() / "relative"
