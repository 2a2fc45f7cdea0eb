"""Laws of names that are hashed or stand in a URL."""

import pytest

from ledger.errors import MalformedEffectError, TooLargeError
from ledger.forms.names import (
    check_key_id,
    check_ledger_name,
    check_origin,
    check_payload_name,
    check_period_name,
    check_principal_name,
)

BAD = ["", "-a", ".a", "a b", "a/b", "é", "a\n", 'a"b', "a\\b"]


@pytest.mark.parametrize("name", ["a", "7", "acme.payments", "a-b_c", "l" * 62])
def test_ledgers_and_principals_have_plain_names(name):
    assert check_ledger_name(name) == name
    assert check_principal_name(name) == name


@pytest.mark.parametrize("name", [*BAD, "Acme", "_other", 7, None])
def test_other_names_are_refused(name):
    for check in (check_ledger_name, check_principal_name, check_payload_name):
        with pytest.raises(MalformedEffectError):
            check(name)


def test_only_the_registry_and_the_ledger_itself_begin_with_an_underscore():
    assert check_ledger_name("_registry") == "_registry"
    assert check_principal_name("_ledger") == "_ledger"
    for check, name in ((check_ledger_name, "_ledger"), (check_principal_name, "_registry")):
        with pytest.raises(MalformedEffectError):
            check(name)


@pytest.mark.parametrize(
    ("check", "limit"),
    [
        (check_ledger_name, 62),
        (check_principal_name, 62),
        (check_payload_name, 63),
        (check_period_name, 63),
        (check_key_id, 64),
        (check_origin, 255),
    ],
)
def test_every_name_has_its_limit(check, limit):
    assert check("a" * limit) == "a" * limit
    with pytest.raises(TooLargeError) as caught:
        check("a" * (limit + 1))
    assert caught.value.details["limit"] == limit


@pytest.mark.parametrize("name", BAD)
def test_periods_and_keys_leave_nothing_to_escape(name):
    """They are spliced into hashed JSON as they are."""
    for check in (check_period_name, check_key_id):
        with pytest.raises(MalformedEffectError):
            check(name)


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "é", "a\n"])
def test_an_origin_can_name_a_key(origin):
    with pytest.raises(MalformedEffectError):
        check_origin(origin)
