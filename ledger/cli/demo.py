"""
Demo: the whole story on a machine with nothing else, told as it happens.

A real service with its own database is started, and everything is said to it over HTTP, as
anyone would. Nothing here is simulated.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from ledger.cli.answering import stopped_by_signals
from ledger.cli.output import BAD_EVIDENCE, JsonOption, Output
from ledger.cli.remote import PATIENCE_S, Remote
from ledger.cli.verify.judgement import VERDICTS
from ledger.cli.verify.receipt import read_receipt
from ledger.cli.verify.service import run_verification
from ledger.client import Refused
from ledger.client.errors import WORLDS
from ledger.client.requests import ledger_path
from ledger.errors import DatabaseUnavailableError
from ledger.forms.timestamps import format_time
from ledger.note import VerifierKey
from ledger.receipt import verify_receipt
from ledger.settings import PREFIX, read_settings

LEDGER = "shop"
PRINCIPAL = "checkout"
HOST = "127.0.0.1"
STOP_PATIENCE_S = 60.0
WIDTH = 96
WORLD_WIDTH = 15


def demo(
    *,
    keep: Annotated[
        bool | None,
        typer.Option(
            "--keep/--no-keep",
            help="Leave the service running until Ctrl-C; by default, on a terminal.",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep everything there; without, it is removed at the end.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """
    Tell the whole story, in seconds, on a database of its own.

    A payment, two partial refunds, an over-refund refused, an e-mail recalled, an explanation;
    then the receipt is verified offline, and the ledger as a whole.
    """
    output = Output(as_json)
    stays = sys.stdout.isatty() and not as_json if keep is None else keep
    output.say("Starting a service, with a PostgreSQL of its own ...\n")
    with stopped_by_signals(), _directory(data_dir) as directory, _service(directory) as url:
        key, vkey = _prepare(directory)
        with Remote(url, key) as remote:
            story = _tell(output, remote)
            proof = _prove(output, story, directory, vkey)
            report = _check(output, remote)
        output.say(_next_steps(url, key, vkey, proof["file"], data_dir, stays=stays))
        good = "bad" not in report["verdicts"].values()
        if as_json:
            output.answer(
                {
                    "url": url,
                    "ledger": LEDGER,
                    "key": key,
                    "vkey": vkey,
                    "steps": story,
                    "receipt": story[-1]["answer"]["receipt"],
                    "verified": proof,
                    "report": report,
                },
                "",
            )
        if stays:
            while True:
                signal.pause()
    return 0 if good else BAD_EVIDENCE


# ---- The story ------------------------------------------------------------------------


def _tell(output: Output, remote: Remote) -> list[dict[str, Any]]:
    """Say it to the service, step by step; first and last comes the payment."""
    order = 10_000 + secrets.randbelow(90_000)
    teller = _Teller(output, remote, order)

    payment = {
        "type": "card.capture",
        "occurred_at": format_time(datetime.now(UTC)),
        "subject": f"order/{order}",
        "money": {"amount": "100.00", "currency": "EUR", "flow": "in"},
        "evidence": [{"system": "stripe", "rel": "transaction", "ref": f"ch_{order}"}],
    }
    teller.ask("Before anything happens: would this payment be taken?", payment)
    paid = teller.post(
        "A card is charged 100.00 EUR. From here on it is history.",
        "/effects",
        f"order-{order}-capture",
        payment,
    )
    refunds = f"/effects/{paid['id']}/refunds"
    teller.post(
        "30.00 EUR go back: one of the shirts did not fit.",
        refunds,
        f"order-{order}-refund-1",
        _refund("30.00", "customer.request"),
    )
    teller.post(
        "20.50 EUR go back: another one came late.",
        refunds,
        f"order-{order}-refund-2",
        _refund("20.50", "delivery.late"),
    )
    teller.refused(
        "Somebody asks for another 60.00 EUR, which is more than remains.",
        refunds,
        f"order-{order}-refund-3",
        _refund("60.00", "customer.request"),
    )
    sent = teller.post(
        "An e-mail confirms it. Its words are a payload, encrypted and erasable; not hashed.",
        "/effects",
        f"order-{order}-mail",
        {
            "type": "email.sent",
            "occurred_at": format_time(datetime.now(UTC)),
            "subject": f"order/{order}",
            "handoff": {"point": "notified"},
            "payloads": [
                {
                    "name": "message",
                    "text": "Dear customer, 50.50 EUR are on their way to you. ...",
                    "data_subject": f"customer-{secrets.token_hex(4)}",
                }
            ],
        },
    )
    teller.post(
        "It went to the wrong address. It cannot be unsent, so its recall is a new entry.",
        f"/entries/{sent['id']}/adjustments",
        f"order-{order}-mail-recall",
        {
            "type": "email.recalled",
            "occurred_at": format_time(datetime.now(UTC)),
            "reason": "recipient.wrong",
        },
    )
    teller.post(
        "And the auditors get the reason, in words, beside the entry they will ask about.",
        f"/entries/{sent['id']}/explanations",
        f"order-{order}-mail-why",
        {
            "type": "explanation",
            "occurred_at": format_time(datetime.now(UTC)),
            "reason": "recipient.wrong",
            "audience": "auditors",
            "note": "The address book had two customers of one name. Recalled within a minute.",
        },
    )
    teller.post(
        "Much later, someone is not sure and sends the payment once more, with its key.",
        "/effects",
        f"order-{order}-capture",
        payment,
    )
    return teller.steps


def _refund(amount: str, reason: str) -> dict[str, Any]:
    return {
        "type": "card.refund",
        "occurred_at": format_time(datetime.now(UTC)),
        "reason": reason,
        "money": {"amount": amount, "currency": "EUR", "flow": "out"},
    }


class _Teller:
    """Sends a step of the story, and says which world it was in and what came back."""

    def __init__(self, output: Output, remote: Remote, order: int) -> None:
        self._output = output
        self._remote = remote
        self._order = order
        self.steps: list[dict[str, Any]] = []
        """Each with its request and its answer, or the problem it met."""

    def ask(self, text: str, body: Mapping[str, Any]) -> None:
        """A question to the closed world."""
        answer = self._remote.post(
            ledger_path(LEDGER, "/effects"),
            body,
            key=f"order-{self._order}-capture",
            patience_s=PATIENCE_S,
            query={"dry_run": "true"},
        )
        self._say(answer["world"], text, "Yes. Nothing was written, no number taken.")

    def post(self, text: str, path: str, key: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A write that is recorded, or was before."""
        answer: dict[str, Any] = self._remote.post(
            ledger_path(LEDGER, path), body, key=key, patience_s=PATIENCE_S
        )
        self.steps.append({"path": path, "key": key, "request": body, "answer": answer})
        what = "Replayed, not recorded twice:" if answer["replayed"] else "Recorded:"
        self._say(
            answer["world"],
            text,
            f"{what} seq {answer['seq']}, hash {answer['entry_hash'][:16]}..., "
            f"receipt {answer['receipt']['level']}.",
        )
        return answer

    def refused(self, text: str, path: str, key: str, body: Mapping[str, Any]) -> None:
        """A write that history does not take."""
        try:
            self._remote.post(ledger_path(LEDGER, path), body, key=key)
        except Refused as error:
            problem = error.problem
            self.steps.append({"path": path, "key": key, "request": body, "problem": problem})
            self._say(
                problem["world"],
                text,
                f"Refused, {problem['status']} {problem['code']}: {problem['detail']}.",
                f"The hint to the program: {problem['action']}. Nothing was written.",
            )

    def _say(self, world: str, text: str, *lines: str) -> None:
        self._output.say(f"{WORLDS[world]:<{WORLD_WIDTH}}{text}")
        for line in lines:
            self._output.say(_indented(line))
        self._output.say()


def _indented(line: str) -> str:
    indent = " " * WORLD_WIDTH
    return textwrap.fill(
        line, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


# ---- The proof ------------------------------------------------------------------------


def _prove(
    output: Output, story: list[dict[str, Any]], directory: Path, vkey: str
) -> dict[str, Any]:
    """Keep the payment's receipt in a file, show it, and verify it from there."""
    receipt = story[-1]["answer"]["receipt"]
    file = directory / "receipt.json"
    file.write_bytes(orjson.dumps(receipt, option=orjson.OPT_INDENT_2) + b"\n")
    verified = verify_receipt(read_receipt(file, file.read_bytes())[0], [VerifierKey.parse(vkey)])
    origin, size = verified.place.checkpoint.origin, verified.place.checkpoint.size

    output.say(f"The receipt of the payment, as the shop keeps it ({file}):\n")
    output.say(textwrap.indent(receipt["proof"].rstrip(), "    "))
    output.say("\n    and the entry it proves\n")
    output.say(textwrap.indent(_cut(receipt["entry"], WIDTH - 4), "    "))
    output.say(
        "\nVerified offline, from that file and the ledger's public key alone:\n"
        f"    entry {verified.seq} is in the tree of {size} that {origin} signed.\n"
    )
    return {
        "file": str(file),
        "origin": origin,
        "seq": verified.seq,
        "size": size,
        "level": verified.level,
    }


def _cut(text: str, width: int) -> str:
    # Anywhere: these are bytes, and a wrapped text would hide which spaces are theirs.
    return "\n".join(text[at : at + width] for at in range(0, len(text), width))


def _check(output: Output, remote: Remote) -> dict[str, Any]:
    report = run_verification(remote, LEDGER, {}, output)
    verdicts = ", ".join(f"{name} {report['verdicts'][name]}" for name in VERDICTS)
    output.say(
        f"And the whole ledger, recomputed from its {report['entries']} entries:\n    {verdicts}.\n"
    )
    return report


# ---- Around it ------------------------------------------------------------------------


@contextmanager
def _directory(chosen: Path | None) -> Iterator[Path]:
    if chosen is not None:
        yield chosen.absolute()
        return
    base = Path(tempfile.mkdtemp(prefix="effect-ledger-demo-"))
    try:
        # As root, the database runs as another user, who must be able to pass through here.
        base.chmod(0o711)
        yield base / "data"
    finally:
        shutil.rmtree(base, ignore_errors=True)


@contextmanager
def _service(directory: Path) -> Iterator[str]:
    """The real service as a process of its own, until the block ends."""
    port = _free_port()
    service = subprocess.Popen(  # noqa: S603 - this program itself
        [
            sys.executable,
            "-m",
            "ledger.cli.main",
            "serve",
            "--host",
            HOST,
            "--port",
            str(port),
            "--json",
        ],
        env=_environment(directory),
        stdout=subprocess.PIPE,
        # Ctrl-C ends the story first, and the story ends the service.
        start_new_session=True,
    )
    try:
        assert service.stdout is not None
        # One line when it answers; none where it ended instead, and said why.
        if not service.stdout.readline():
            raise DatabaseUnavailableError("the service did not start; it said why above")
        yield f"http://{HOST}:{port}"
    finally:
        service.terminate()
        service.wait(STOP_PATIENCE_S)


def _prepare(directory: Path) -> tuple[str, str]:
    """A ledger and a key, made beside the running service: the key, and the ledger's vkey."""
    # Imported here: it takes longer to load than most commands take to run.
    from ledger.service import open_service

    with open_service(read_settings(_environment(directory))) as service:
        vkey = service.registry.create_ledger(LEDGER).vkey
        key = service.credentials.create(PRINCIPAL, ["*"], [LEDGER]).key
    return key, vkey


def _environment(directory: Path) -> dict[str, str]:
    # What is set for a real service must not reach this one.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return inherited | {
        f"{PREFIX}DATA_DIR": str(directory),
        f"{PREFIX}LOG_LEVEL": "error",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def _next_steps(
    url: str, key: str, vkey: str, receipt: str, data_dir: Path | None, *, stays: bool
) -> str:
    commands = f"""\
    export EFFECT_LEDGER_URL={url}
    export EFFECT_LEDGER_KEY={key}

    curl -s $EFFECT_LEDGER_URL/v1/ledgers/{LEDGER}/entries \\
        -H "Authorization: Bearer $EFFECT_LEDGER_KEY"
    curl -s $EFFECT_LEDGER_URL/v1/ledgers/{LEDGER}/effects \\
        -H "Authorization: Bearer $EFFECT_LEDGER_KEY" \\
        -H 'Idempotency-Key: my-first' -H 'Content-Type: application/json' \\
        -d '{{"type": "card.capture", "occurred_at": "{format_time(datetime.now(UTC))}",
             "money": {{"amount": "19.99", "currency": "EUR", "flow": "in"}}}}'
    effect-ledger tail {LEDGER}
    effect-ledger verify {shlex.quote(receipt)} --vkey '{vkey}'"""
    if stays:
        return f"The service runs until Ctrl-C. In another terminal, try:\n\n{commands}\n"
    if data_dir is not None:
        again = (
            f"EFFECT_LEDGER_DATA_DIR={shlex.quote(str(data_dir.absolute()))} effect-ledger serve"
        )
        return f"Start it again with\n\n    {again}\n\nand try, at its own URL:\n\n{commands}\n"
    # Commands with a key and a URL that are gone would only disappoint.
    return (
        "The service ends here, and leaves nothing behind. `effect-ledger demo --keep` leaves it "
        "running, with curl commands for you to try.\n"
    )
