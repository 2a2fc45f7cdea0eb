"""Where published samples and our own synthetic files are, and sources to read them by."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.recon.source import Source

FIXTURES = Path(__file__).parent / "fixtures"
PUBLISHED = Path(__file__).parents[2].parent / "shared" / "statements"


def published(name: str) -> bytes:
    """A sample as its project published it. None is copied here; see SOURCES.txt beside them."""
    if not PUBLISHED.is_dir():
        pytest.skip(f"NOT RUN: no published statement samples in {PUBLISHED}")
    return (PUBLISHED / name).read_bytes()


def make_source(**members) -> Source:
    """A source that takes what comes, in Berlin."""
    return Source(
        **{
            "name": "test",
            "provider": "test",
            "report_type": "",
            "account_ref": "",
            "iana_tz": "Europe/Berlin",
            **members,
        }
    )
