"""Settings: all of them, each with where its value came from."""

from __future__ import annotations

from ledger.cli.output import JsonOption, Output, table
from ledger.settings import read_settings


def settings(as_json: JsonOption = False) -> None:
    """Print every setting with its source; secrets are masked."""
    lines = read_settings().lines
    Output(as_json).answer(
        {
            "settings": [
                {"name": line.name, "value": line.value or None, "source": line.source}
                for line in lines
            ]
        },
        table([(line.name, line.value or "(not set)", line.source) for line in lines]),
    )
