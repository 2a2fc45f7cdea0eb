"""Settings come from arguments, environment and defaults, in that order, and hide secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.errors import SettingsError
from ledger.settings import MASK, LogLevel, read_settings


def lines(**environment: str) -> dict[str, tuple[str, str]]:
    settings = read_settings({f"EFFECT_LEDGER_{k}": v for k, v in environment.items()})
    return {
        line.name.removeprefix("EFFECT_LEDGER_"): (line.value, line.source)
        for line in settings.lines
    }


def test_defaults_run_the_embedded_database_on_loopback() -> None:
    """Nothing needs to be set."""
    settings = read_settings({})

    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8420, 1)
    assert settings.database_url is None
    assert settings.log_level is LogLevel.INFO
    assert {line.source for line in settings.lines} == {"default"}


def test_argument_wins_over_environment_wins_over_default() -> None:
    """The nearer source is taken, and named."""
    environment = {"EFFECT_LEDGER_PORT": "9000", "EFFECT_LEDGER_HOST": "0.0.0.0"}
    settings = read_settings(environment, port=9001, host=None)

    assert (settings.host, settings.port) == ("0.0.0.0", 9001)
    assert {(line.name, line.source) for line in settings.lines if line.source != "default"} == {
        ("EFFECT_LEDGER_PORT", "argument"),
        ("EFFECT_LEDGER_HOST", "environment"),
    }


def test_every_setting_has_a_line_in_fixed_order() -> None:
    """The names scripts depend on."""
    assert list(lines()) == [
        "DATA_DIR",
        "DATABASE_URL",
        "HOST",
        "PORT",
        "WORKERS",
        "ORIGIN_HOST",
        "SIGNING_KEY",
        "SIGNING_KEY_NEXT",
        "SIGNING_KEY_PASSPHRASE",
        "SIGNING_KEY_PASSPHRASE_FILE",
        "SIGNER_URL",
        "SIGNER_TOKEN",
        "ML_DSA_44",
        "PAYLOAD_KEY",
        "POLICY",
        "WITNESS_INTERVAL",
        "VERIFY_INTERVAL",
        "VERIFY_FULL_INTERVAL",
        "REGISTRY_INTERVAL",
        "TSA_URL",
        "TSA_CERTIFICATES",
        "TSA_INTERVAL",
        "LOG_LEVEL",
        # Of the commands that are clients.
        "URL",
        "KEY",
        "OUTBOX_URL",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SIGNING_KEY", "hush-signing"),
        ("PAYLOAD_KEY", "hush-payload"),
        ("DATABASE_URL", "postgresql://me:hush-one@db/ledger"),
        ("DATABASE_URL", "postgresql://me:hu@sh@db/ledger"),
        ("DATABASE_URL", "postgresql:///ledger?user=me&password=hush&sslmode=require"),
        ("SIGNER_URL", "https://me:hush@signer.example/"),
        ("KEY", "hush-key"),
        ("OUTBOX_URL", "postgresql://me:hush@db/shop"),
    ],
)
def test_secrets_are_masked(name: str, value: str) -> None:
    """What is printed shows that a secret is set, and nothing of it."""
    shown, source = lines(**{name: value})[name]

    assert "hush" not in shown
    assert "sh@" not in shown
    assert MASK in shown
    assert source == "environment"


def test_unset_secret_is_shown_empty() -> None:
    """A mask stands only where there is something to hide."""
    assert lines()["SIGNING_KEY"] == ("", "default")


def test_empty_variable_is_not_set() -> None:
    """Compose files spell an absent value as an empty one."""
    assert lines(DATABASE_URL="")["DATABASE_URL"] == ("", "default")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "eight"),
        ("PORT", "-1"),
        ("PORT", "٨٤٢٠"),
        ("WORKERS", "0"),
        ("ML_DSA_44", "yes"),
        ("HOST", "two words"),
        ("DATABASE_URL", "mysql://db/ledger"),
        ("DATABASE_URL", "postgresql:ledger"),
        ("SIGNER_URL", "signer.example"),
        ("ORIGIN_HOST", "https://ledger.example"),
        ("ORIGIN_HOST", "ledger.example/"),
        ("ORIGIN_HOST", "ledger example"),
        ("LOG_LEVEL", "loud"),
        ("DATA_DIR", "a\0b"),
    ],
)
def test_wrong_value_names_the_setting(name: str, value: str) -> None:
    """The error says which variable, and not what a secret was."""
    with pytest.raises(SettingsError) as raised:
        lines(**{name: value})

    assert raised.value.details["setting"] == f"EFFECT_LEDGER_{name}"


def test_misspelt_setting_is_refused() -> None:
    """A variable with our prefix that means nothing stops the start."""
    with pytest.raises(SettingsError, match="EFFECT_LEDGER_PROT"):
        lines(PROT="8420")


def test_client_variables_pass() -> None:
    """URL and key of the client commands may stand in the same environment."""
    assert lines(URL="http://127.0.0.1:8420", KEY="k")


def test_data_dir_becomes_absolute() -> None:
    """A process that changes its directory keeps its data."""
    settings = read_settings({"EFFECT_LEDGER_DATA_DIR": "here"})

    assert settings.data_dir == Path("here").absolute()
