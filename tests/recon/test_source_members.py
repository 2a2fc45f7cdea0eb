"""What a source is made of, as its command tells it."""

from __future__ import annotations

from api.recon_schemas import SourceIn
from ledger.cli.recon.files import sources


def test_the_command_tells_every_member_of_a_source():
    """No member is known to the service alone."""
    told = sources.__doc__ or ""

    assert [name for name in SourceIn.model_fields if f"`{name}`" not in told] == []
