"""
Commands: which there are, whom each is for, and where its code is.

The code of a command is imported when it is called for, and not with all the others: whoever
posts an effect waits for nothing that prints reports.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import typer
from typer.core import TyperGroup

from ledger.cli.manual import ALONE, CALLS, LOCAL, SHORT_MAX, Exits, Readers, manual, plain_typer

if TYPE_CHECKING:
    from typer._click.core import Context
    from typer._click.formatting import HelpFormatter

_POSTS = "--key order-1-capture --type card.capture --amount 19.99 --currency EUR --flow in"
_CORRECTS = "shop --corrects-key order-1-capture --reason customer.request"
_LINES = CALLS | {1: "lines were refused"}
_RELAYS = CALLS | {1: "a row was refused, and waits for a person"}
_BUNDLES = ALONE | {1: "the bundle is damaged"}
_VERIFIED = {
    0: "good",
    1: "bad evidence",
    2: "bad input, or nobody you trust vouched for it",
    3: "where it lies, nobody answers",
}
_SERVES = LOCAL | {0: "ended by a signal"}
_ASSISTS = ALONE | {0: "its agent hung up"}
_LISTENS = ALONE | {0: "ended by a signal"}
_WATCHES = {0: "good", 1: "evidence against the log", 2: "bad input", 3: "unreachable", 4: "stale"}
_DEMO = LOCAL | {1: "it did not verify"}
_RESTORES = LOCAL | {
    1: "the copy does not lead to what was signed, or the database holds another history"
}

_R = Readers
_COMMANDS: tuple[tuple[Readers, str, str, str, Exits], ...] = (
    (_R.NEWCOMERS, "demo", "demo:demo", "demo", _DEMO),
    (_R.SERVICES, "post", "effects:post", f"post shop {_POSTS}", CALLS),
    (
        *(_R.SERVICES, "refund", "corrections:refund"),
        f"refund {_CORRECTS} --key order-1-refund --amount 5.00 --currency EUR",
        CALLS,
    ),
    (
        *(_R.SERVICES, "adjust", "corrections:adjust"),
        f"adjust {_CORRECTS} --key order-1-fee --amount -0.10 --currency EUR --flow in",
        CALLS,
    ),
    (
        *(_R.SERVICES, "explain", "corrections:explain"),
        f"explain {_CORRECTS} --key order-1-why --note 'Sent twice.'",
        CALLS,
    ),
    (_R.SERVICES, "show", "entries:show", "show shop --key order-1-capture", CALLS),
    (_R.SERVICES, "tail", "entries:tail", "tail shop --follow", CALLS),
    (_R.SERVICES, "dry-run", "items:dry_run", "dry-run shop march.ndjson", _LINES),
    (_R.SERVICES, "import", "items:import_file", "import shop march.ndjson", _LINES),
    (
        _R.SERVICES,
        "relay",
        "relay:relay",
        "relay --database-url sqlite:////srv/shop.db --once",
        _RELAYS,
    ),
    (_R.SERVICES, "mcp", "mcp:mcp", "mcp shop --agent assistant", _ASSISTS),
    (_R.AUDITORS, "verify", "verify.command:verify", "verify receipt.json --vkey VKEY", _VERIFIED),
    (
        *(_R.AUDITORS, "export", "export:export", "export shop --period 2026-10 --out bundle"),
        CALLS | {1: "the service shows something else than it signed, or than it showed before"},
    ),
    (
        *(_R.AUDITORS, "report", "report:report", "report bundle --vkey VKEY --out report.pdf"),
        _VERIFIED,
    ),
    (
        *(_R.AUDITORS, "sample", "sample:sample"),
        "sample bundle --method random --size 25 --out paper.xlsx",
        _BUNDLES,
    ),
    (_R.AUDITORS, "evaluate", "sample:evaluate", "evaluate paper.json results.csv", ALONE),
    (
        *(_R.AUDITORS, "watch", "watch:watch"),
        "watch http://127.0.0.1:8420/v1/ledgers/shop --vkey VKEY --once",
        _WATCHES,
    ),
    (
        *(_R.AUDITORS, "witness", "witness:witness"),
        "witness --name witness.example/w1 --log VKEY",
        _LISTENS,
    ),
    (_R.FINANCE, "close", "close:close", "close shop 2026-10 --reviewer ben", CALLS),
    (_R.FINANCE, "review", "close:review", "review shop 2026-10", CALLS),
    (_R.OPERATORS, "serve", "serve:serve", "serve --port 8420", _SERVES),
    (_R.OPERATORS, "migrate", "database:migrate", "migrate", LOCAL),
    (_R.OPERATORS, "settings", "settings:settings", "settings", ALONE),
    (
        *(_R.OPERATORS, "restore", "restore:restore"),
        "restore shop --entries copy",
        _RESTORES,
    ),
    (_R.OPERATORS, "signer", "signer:signer", "signer --port 8440", _LISTENS),
    (_R.OPERATORS, "bench", "bench:bench", "bench R1 R4 --seconds 5", ALONE),
)
"""Readers, name, place below `ledger.cli`, example and exit codes."""

_GROUPS: tuple[tuple[Readers, str, str], ...] = (
    (_R.SERVICES, "intent", "intents:app"),
    (_R.FINANCE, "recon", "recon:app"),
    (_R.OPERATORS, "ledger", "ledgers:app"),
    (_R.OPERATORS, "key", "keys:app"),
)


class Commands(TyperGroup):
    """Every command by its name, listed under the headings of their readers."""

    def __init__(self, *arguments: Any, **properties: Any) -> None:
        super().__init__(*arguments, **properties)
        self.commands = cast("dict[str, Any]", _OnDemand())

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the list of commands, a section for each kind of reader."""
        of = {name: readers for readers, name, *_ in (*_COMMANDS, *_GROUPS)}
        for heading in Readers:
            rows = [
                (name, self.commands[name].get_short_help_str(limit=SHORT_MAX))
                for name in self.list_commands(ctx)
                if of[name] == heading
            ]
            with formatter.section(heading.value):
                formatter.write_dl(rows)


class _OnDemand(Mapping[str, Any]):
    """Name -> command; its module is imported when it is looked up."""

    def __init__(self) -> None:
        self._single = {line[1]: line for line in _COMMANDS}
        self._groups = {name: place for _, name, place in _GROUPS}
        self._found: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._found:
            self._found[name] = self._load(name)
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*self._single, *self._groups))

    def __len__(self) -> int:
        return len(self._single) + len(self._groups)

    def _load(self, name: str) -> Any:
        if name in self._groups:
            loaded = typer.main.get_command(_at(self._groups[name]))
            loaded.name = name
            return loaded
        _, _, place, example, exits = self._single[name]
        alone = plain_typer()
        alone.command(name, **manual(example, exits))(_at(place))
        return typer.main.get_command(alone)


def _at(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"ledger.cli.{module}"), name)
