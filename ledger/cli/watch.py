"""Watch: an independent party that holds a log to everything it was seen to sign."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from ledger.cli.answering import stopped_by_signals
from ledger.cli.output import JsonOption, Output, facts, print_json
from ledger.cli.remote import PATIENCE_S, key_for, open_remote
from ledger.cli.verify.service import split_url
from ledger.cli.verify.trust import KeysOption, PolicyOption, Trust, VkeyOption, read_trust
from ledger.client.requests import LEDGERS, ledger_path
from ledger.copies.places import open_copy
from ledger.errors import LedgerError, SettingsError
from ledger.forms.timestamps import parse_span
from ledger.note import VerifierKey
from ledger.settings import read_settings
from ledger.watch.alarms import Alarms
from ledger.watch.memory import MemoryFile, held_memory
from ledger.watch.watcher import CONCLUSIVE, Look, Trusted, Watcher, memory_path
from ledger.watch.webhook import Webhook

EVIDENCE_CODE = 1
PAUSE_S = 2.0
"""Between the tries of one look."""


def watch(
    url: Annotated[
        str, typer.Argument(help="URL of a ledger, or of any log that serves C2SP tlog-tiles.")
    ],
    *,
    vkey: VkeyOption = None,
    keys: KeysOption = None,
    policy: PolicyOption = None,
    memory: Annotated[
        Path | None,
        typer.Option(help="File for what was seen; by default one per log in the data dir."),
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Seconds from one look to the next.")] = 60,
    once: Annotated[bool, typer.Option("--once", help="Look once and end, as for cron.")] = False,
    stale: Annotated[
        str | None,
        typer.Option(help="Alarm where no new signature was seen for so long: 90s, 30m, 2d."),
    ] = None,
    tries: Annotated[
        int, typer.Option(min=1, help="Looks in a row that must fail before an alarm.")
    ] = 3,
    webhook: Annotated[
        str | None, typer.Option(help="URL that each alarm is POSTed to as JSON, and its end.")
    ] = None,
    acknowledge: Annotated[
        bool, typer.Option("--acknowledge", help="Take back the alarms that stand, and go on.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """
    Watch a log: remember what it signs, and prove that each new tree continues all that was seen.

    The tiles that prove it are fetched and hashed here. It ends by itself only where there is
    evidence against the log (rollback, fork, signature, another log, unproven, no quorum), or
    with --once. With --json there is one object for each look, a line each.
    """
    output = Output(as_json)
    stale_after = None if stale is None else _span(stale)
    hook = None if webhook is None else Webhook(webhook)
    trust = read_trust(vkeys=vkey, keys=keys, policy=policy)
    with (
        open_copy(url, key_for(url), attempts=1) as copy,
        held_memory(memory or memory_path(read_settings().data_dir, copy.where)) as file,
    ):
        trusted = _trusted(output, url, file, trust)
        watcher = Watcher(copy, file, trusted, stale_after=stale_after)
        alarms = Alarms(file, copy.where, hook)
        if acknowledge:
            taken_back = ", ".join(alarms.acknowledge()) or "none"
            output.note(f"alarms taken back: {taken_back}")
        output.note(f"watching {copy.where}, remembered in {file.path}")
        watching = _Watching(output, watcher, alarms, tries)
        if once:
            return watching.look_until_sure(PAUSE_S)
        with _ended_by_signals(watching):
            watching.look_for_ever(every)
        return watching.code


@dataclass(slots=True)
class _Watching:
    """The looks of one run."""

    output: Output
    watcher: Watcher
    alarms: Alarms
    tries: int
    code: int = 0
    """Of the last look that was told."""
    failed: int = 0
    """Looks in a row that were not good."""

    def look_until_sure(self, pause_s: float) -> int:
        """Look, again where it is not good, and return the exit code."""
        while not self.look():
            time.sleep(pause_s)
        return self.code

    def look_for_ever(self, every_s: float) -> None:
        """Look at an interval until there is evidence against the log."""
        while True:
            if self.look() and self.code == EVIDENCE_CODE:
                return
            time.sleep(every_s)

    def look(self) -> bool:
        """Look once and tell; whether the answer is to be relied on."""
        found = self.watcher.look(datetime.now(UTC))
        self.failed = 0 if found.kind is None else self.failed + 1
        is_sure = found.kind is None or found.kind in CONCLUSIVE or self.failed >= self.tries
        if is_sure:
            found = self.alarms.settle(found)
            self.code = found.code
        self._tell(found, is_sure)
        return is_sure

    def _tell(self, found: Look, is_sure: bool) -> None:
        if not is_sure:
            self.output.note(f"{found.at} {found.kind}? {found.message}; looking again")
            return
        if self.output.as_json:
            print_json(found.document())
        else:
            self.output.say(f"{found.at} {found.kind or 'good'}: {found.message}")
        if found.kind is not None:
            self.output.note(f"effect-ledger: ALARM {found.kind}: {found.message}")
        if self.alarms.undelivered is not None:
            self.output.note(
                f"effect-ledger: the webhook did not take it ({self.alarms.undelivered}); it is "
                "kept and sent again with the next look"
            )


@contextmanager
def _ended_by_signals(watching: _Watching) -> Iterator[None]:
    """Let a signal end the block as any end: with the code of the last look."""
    try:
        with stopped_by_signals():
            yield
    except SystemExit:
        watching.output.note("watch ended")


def _span(text: str) -> timedelta:
    span = parse_span(text)
    if span is None:
        raise SettingsError("--stale is a span such as 90s, 30m, 12h or 2d")
    return span


# ---- Whom it trusts -------------------------------------------------------------------


def _trusted(output: Output, url: str, file: MemoryFile, trust: Trust) -> Trusted:
    if trust.logs:
        return Trusted(logs=trust.logs, policy=trust.policy)
    remembered = file.load()
    if remembered is not None:
        logs = tuple(VerifierKey.parse(each) for each in remembered.vkeys)
        on_first_use = remembered.trusted_on_first_use
    else:
        logs, on_first_use = (_key_by_word(url),), True
    if on_first_use:
        output.note(
            "TRUSTED ON FIRST USE: the log's own word is all there is for its key. Ask its "
            "operator by another way, and give it with --vkey:\n"
            + facts(key=", ".join(each.encode() for each in logs))
        )
    return Trusted(logs=logs, policy=trust.policy, on_first_use=on_first_use)


def _key_by_word(url: str) -> VerifierKey:
    """The key of a ledger, as its service names it."""
    if LEDGERS not in url:
        raise SettingsError(
            "say whose signature you trust: --vkey with the log's verifier key. Only a service "
            "of ours can be asked for it"
        )
    base, ledger = split_url(url)
    try:
        with open_remote(base) as remote:
            record = remote.get(ledger_path(ledger), patience_s=PATIENCE_S)
        return VerifierKey.parse(record["vkey"])
    except LedgerError as error:
        raise SettingsError(
            f"no key to trust: give one with --vkey. The service was asked: {error.message}"
        ) from error
