"""What a source is made of, as its command tells it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from api.recon_schemas import SourceIn
from ledger.cli.recon.files import sources
from ledger.errors import MalformedEffectError
from ledger.recon.account import build_account
from ledger.recon.mapping import CsvMapping

SOURCE: dict[str, Any] = {"name": "bank", "provider": "bank", "iana_tz": "Europe/Berlin"}
MAPPING: dict[str, Any] = {"version": 1, "date": "Day", "amount": "Sum"}


def test_the_command_tells_every_member_of_a_source():
    """No member is known to the service alone."""
    told = sources.__doc__ or ""

    assert [name for name in SourceIn.model_fields if f"`{name}`" not in told] == []


def test_the_command_tells_every_member_of_a_mapping():
    told = sources.__doc__ or ""

    assert [each.name for each in fields(CsvMapping) if f"`{each.name}`" not in told] == []


@pytest.mark.parametrize(
    ("pointer", "members"),
    [
        ("/iana_tz", {"iana_tz": "Mars/Base"}),
        ("/side", {"side": ["bank"]}),
        ("/unit_rule", {"unit_rule": "cents"}),
        ("/exponents", {"exponents": []}),
        ("/fee_caps/EUR", {"fee_caps": {"EUR": "1"}}),
        ("/approval_above/EUR", {"approval_above": {"EUR": -1}}),
        ("/windows", {"windows": []}),
        ("/windows/refund", {"windows": {"refund": 3}}),
        ("/windows/refund/until", {"windows": {"refund": {"until": 3}}}),
        ("/tolerances", {"tolerances": {}}),
        ("/tolerances/0/kind", {"tolerances": [{"kind": "tea"}]}),
        ("/holidays/0", {"holidays": ["Christmas"]}),
        ("/mapping/version", {"mapping": {}}),
        ("/mapping/date", {"mapping": {"version": 1}}),
        ("/mapping/amount", {"mapping": {"version": 1, "date": "Day"}}),
        ("/mapping/data", {"mapping": MAPPING | {"data": "Day"}}),
        ("/mapping/fee", {"mapping": MAPPING | {"fee": 7}}),
        ("/mapping/direction/column", {"mapping": MAPPING | {"direction": {}}}),
        ("/mapping/kinds/sale", {"mapping": MAPPING | {"kinds": {"sale": "tea"}}}),
        ("/mapping/skip/Status", {"mapping": MAPPING | {"skip": {"Status": "Declined"}}}),
        ("/mapping/keep", {"mapping": MAPPING | {"keep": "Status"}}),
    ],
)
def test_what_is_wrong_with_a_source_is_told_by_its_member(pointer, members):
    """In words of ours: nobody who saves a source knows Python's."""
    with pytest.raises(MalformedEffectError) as refused:
        build_account(SOURCE | members)

    assert refused.value.details["pointer"] == pointer
    assert "Error" not in refused.value.message
    assert "__" not in refused.value.message
