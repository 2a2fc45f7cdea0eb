"""API keys over a real database: shown once, kept as hashes, refused alike."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from ledger.errors import (
    DatabaseUnavailableError,
    MalformedEffectError,
    NotFoundError,
    SettingsError,
    UnauthenticatedError,
)
from ledger.registry.credentials import EVERYTHING, SCOPES, Credentials, NewKey, parse_expiry
from ledger.storage.database import OWNER, WRITER
from ledger.storage.database import engine as make_engine
from ledger.storage.embedded import open_server
from tests.integration.commands import settled_directory

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def conninfo():
    with settled_directory() as base, open_server(base / "data") as server:
        yield server.conninfo


@pytest.fixture(scope="module")
def engine(conninfo) -> Iterator[Engine]:
    writer = make_engine(conninfo, WRITER, pool_size=2)
    yield writer
    writer.dispose()


@pytest.fixture
def credentials(engine) -> Credentials:
    return Credentials(engine)


@pytest.fixture
def as_owner(conninfo) -> Iterator[Engine]:
    owner = make_engine(conninfo, OWNER, pool_size=1)
    yield owner
    owner.dispose()


def test_a_key_is_good_for_what_it_was_made_for(credentials):
    """Principal, scopes and ledgers come back with the key, and nothing else does."""
    made = credentials.create("checkout", ["effects:write", "entries:read"], ["shop"])

    found = credentials.authenticate(made.key)

    assert (found.id, found.principal) == (made.id, "checkout")
    assert found.scopes == {"effects:write", "entries:read"}
    assert found.ledgers == {"shop"}


def test_a_key_without_ledgers_reaches_all_of_them(credentials):
    """None is all, present and future; it is not an empty list."""
    made = credentials.create("operator", [EVERYTHING])

    assert credentials.authenticate(made.key).ledgers is None


def test_a_key_has_the_form_that_scanners_look_for(credentials):
    """Lower-case base32 in two parts: one double click selects it, one pattern finds it."""
    made = credentials.create("checkout", ["verify"])

    assert re.fullmatch("elk_[a-z2-7]{16}_[a-z2-7]{52}", made.key)
    assert made.key.split("_")[1] == made.id


def test_the_secret_is_nowhere_in_the_database(credentials, as_owner):
    """What the database holds is a hash: a dump of it opens nothing."""
    made = credentials.create("checkout", ["verify"])
    secret = made.key.rpartition("_")[2]

    with as_owner.connect() as connection:
        rows = connection.execute(text("select * from effect_ledger.api_keys")).all()

    assert rows
    assert secret not in repr(rows)


def test_a_key_does_not_show_itself_to_a_log(credentials):
    """Credentials carry no secret; only the new key does, once."""
    made = credentials.create("checkout", ["verify"])

    assert made.key not in repr(credentials.authenticate(made.key))
    assert made.key not in repr(credentials.list())


def spoilt(made: NewKey, other: NewKey) -> dict[str, str]:
    """Tokens that are no good, by what is wrong with them."""
    prefix, key_id, secret = made.key.split("_")
    return {
        "unknown-id": f"{prefix}_{'a' * 16}_{secret}",
        "secret-of-another": f"{prefix}_{key_id}_{other.key.rpartition('_')[2]}",
        "last-character": made.key[:-1] + ("a" if made.key[-1] != "a" else "b"),
        "upper-case": made.key.upper(),
        "truncated": made.key[:-1],
        "longer": made.key + "a",
        "no-secret": f"{prefix}_{key_id}_",
        "line-end": made.key + "\n",
        "empty": "",
        "not-ascii": "\N{LATIN SMALL LETTER E WITH ACUTE}" * 73,
        "sql": "elk_' or true --_x",
        "nul": made.key[:-1] + "\0",
    }


def refusal(credentials: Credentials, token: str) -> tuple[object, ...]:
    """All that whoever tries a key is told."""
    with pytest.raises(UnauthenticatedError) as refused:
        credentials.authenticate(token)
    return type(refused.value), refused.value.message, *refused.value.details.items()


def test_every_bad_key_is_refused_alike(credentials, as_owner):
    """Unknown, wrong, expired and revoked cannot be told apart by whoever tries keys."""
    good, other = (credentials.create("checkout", ["verify"]) for _ in range(2))
    revoked = credentials.create("checkout", ["verify"])
    credentials.revoke(revoked.id)
    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    expired = credentials.create("checkout", ["verify"], expires_at=soon)
    with as_owner.connect() as connection:
        # A key is not edited, not even to end sooner; and the database's clock says when it ends.
        connection.execute(text("select pg_sleep_until(:soon)"), {"soon": soon})
    tokens = spoilt(good, other) | {"revoked": revoked.key, "expired": expired.key}

    said = {name: refusal(credentials, token) for name, token in tokens.items()}

    assert set(said.values()) == {refusal(credentials, "nonsense")}
    assert credentials.authenticate(good.key).id == good.id


def test_a_second_key_of_a_principal_is_a_rotation(credentials):
    """Keys come and go under a principal, which stays the same."""
    first = credentials.create("till-1", ["effects:write"])
    second = credentials.create("till-1", ["effects:write"])
    credentials.revoke(first.id)

    assert credentials.authenticate(second.key).principal == "till-1"
    with pytest.raises(UnauthenticatedError):
        credentials.authenticate(first.key)


def test_a_principal_stays_when_its_keys_are_gone(credentials, engine):
    """A name in history must not come to mean somebody else."""
    made = credentials.create("long-gone", ["effects:write"])
    credentials.revoke(made.id)

    with engine.connect() as connection:
        known = connection.execute(
            text("select count(*) from effect_ledger.principals where principal = 'long-gone'")
        ).scalar_one()

    assert known == 1


def test_the_first_revocation_stands(credentials):
    """Revoking again is harmless, and does not move the time that may be evidence."""
    made = credentials.create("checkout", ["verify"])

    first, again = credentials.revoke(made.id), credentials.revoke(made.id)

    assert first.state == "revoked"
    assert first == again


def test_revoking_an_unknown_key_says_so_without_repeating_it(credentials):
    """Somebody may have pasted the whole key."""
    made = credentials.create("checkout", ["verify"])

    with pytest.raises(NotFoundError) as missing:
        credentials.revoke(made.key)

    assert made.key.rpartition("_")[2] not in missing.value.message


def test_keys_are_listed_with_their_state(credentials):
    """Good, expired and revoked keys are all there, for ever."""
    until = datetime.now(UTC) + timedelta(days=1)
    made = credentials.create("listed", ["verify", "export"], ["a", "b"], until)

    [line] = [each for each in credentials.list() if each.id == made.id]

    assert (line.principal, line.state) == ("listed", "good")
    assert (line.scopes, line.ledgers) == (("export", "verify"), ("a", "b"))
    assert line.expires_at == until
    assert line.revoked_at is None


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"scopes": []}, SettingsError),
        ({"scopes": ["effects:read"]}, SettingsError),
        ({"scopes": ["*", "nonsense"]}, SettingsError),
        ({"ledgers": []}, SettingsError),
        ({"ledgers": ["Shop"]}, MalformedEffectError),
        ({"principal": "_ledger"}, SettingsError),
        ({"principal": "Two Words"}, MalformedEffectError),
        ({"principal": ""}, MalformedEffectError),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, SettingsError),
    ],
)
def test_a_key_that_would_be_useless_or_false_is_not_made(credentials, arguments, error):
    """Nothing is written, not even the principal."""
    before = credentials.list()
    good = {"principal": "nobody", "scopes": ["verify"], "ledgers": None, "expires_at": None}

    with pytest.raises(error):
        credentials.create(**(good | arguments))

    assert credentials.list() == before


def test_every_scope_can_be_given(credentials):
    """The tuple is the vocabulary: the database takes each of it."""
    made = credentials.create("everything", SCOPES)

    assert credentials.authenticate(made.key).scopes == set(SCOPES)


def test_an_absent_database_is_not_a_bad_key():
    """A client must not throw its key away because the database is away."""

    def nowhere(_role: str) -> str:
        return "host=/nonexistent dbname=nothing"

    engine = make_engine(nowhere, WRITER)
    with pytest.raises(DatabaseUnavailableError):
        Credentials(engine).authenticate(f"elk_{'a' * 16}_{'a' * 52}")
    engine.dispose()


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("90d", NOW + timedelta(days=90)),
        ("12h", NOW + timedelta(hours=12)),
        ("30m", NOW + timedelta(minutes=30)),
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31T08:00:00+02:00", datetime(2027, 1, 31, 6, tzinfo=UTC)),
    ],
)
def test_an_expiry_may_be_a_span_a_date_or_a_time(said, meant):
    """A date is its first moment: a key never lives longer than it was given."""
    assert parse_expiry(said, NOW) == meant


@pytest.mark.parametrize("said", ["", "90", "0d", "-1d", "1w", "tomorrow", "2027-02-30", "1 d"])
def test_an_expiry_that_is_not_understood_is_refused(said):
    """A guess would make a key that lives too long."""
    with pytest.raises(SettingsError):
        parse_expiry(said, NOW)
