"""
Attacks by those who run a ledger, and the parties that catch them.

Each is made against real services on real databases, by files that are copied, keys that are used
twice and clocks that are set; each is caught by a real command of somebody else, in its own words.

    the past      a service records, a witness looks, others keep receipts, checkpoints and copies
    the attacks   an older house, or one with another history, is served at the same address
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import orjson
import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.checkpoint import Checkpoint, log_part, sign_checkpoint
from ledger.entry import Admitted, Head, chain, parse_entry
from ledger.forms.timestamps import format_time
from ledger.merkle import BatchProver, Frontier
from ledger.note import NoteKey
from ledger.receipt import Receipt, TlogProof, parse_tlog_proof
from ledger.rfc3161 import build_query
from ledger.storage.embedded import open_server
from ledger.storage.embedded.cluster import SUPERUSER
from ledger.witness.protocol import AddCheckpoint
from tests.api.support import capture, item
from tests.integration.authorities import DAY, authority, listening
from tests.integration.commands import Done, Shell, free_port
from tests.integration.witnesses import TIMEOUT_S, Running, witness

LEDGER, ANOTHER = "shop", "refunds"
BEFORE, AFTER = 3, 6
"""Entries when the backup was made, and at the end."""
AT = ("--occurred-at", "2026-03-01T09:30:00Z")
OF_LEDGER = f"/v1/ledgers/{LEDGER}"
ROLLBACK = "rollback: an older dump is restored with its signer's record, and served"
FORK = "fork: two databases go on under one key"
RE_SIGNED = "re-signed history: entries are made anew and signed again"
COSIGNED = f"{OF_LEDGER}/log/checkpoint?level=cosigned"

# ---- What is said ---------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Caught:
    """An attack, and what a party's command answered."""

    attack: str
    """Its name, and how it was made."""
    by: str
    """The party, and its command."""
    code: int
    says: str
    """In its words; what differs from run to run is named instead."""


def plain(text: str) -> str:
    """The message without what differs from run to run."""
    for pattern, name in (
        (r"https?://[\w.:]+(/[\w./-]*[\w/])?", "URL"),
        (r"/[\w./~-]*/fork\.json", "FILE"),
        (r"/(?:tmp|var)/[\w./~-]+", "FILE"),
        (r"[0-9a-f]{8}\.effect-ledger\.invalid", "HOST"),
        (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
        (r"\d{4}-\d\d-\d\d[T ][\d:.]+\+00:00", "TIME"),
        (r"[0-9a-f]{64}", "HASH"),
        (r"\+[0-9a-f]{8}(\+[\w+/=]+)?", "+KEY"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{22}", "ID"),
        (r"\d+(\.\d+)? s\b", "N s"),
    ):
        text = re.sub(pattern, name, text)
    return text


def first_sentence(text: str) -> str:
    """What happened, and the code of it; what to do about it is for whoever it happened to."""
    sentence, rest = text.partition(". ")[::2]
    code = re.search(r" \([A-Z_]+\)", rest)
    return f"{sentence} ...{code[0]}" if code else sentence


# ---- The stage ------------------------------------------------------------------------


@dataclass(kw_only=True)
class Stage:
    """Houses, and what others have of them. One after another is served at one address."""

    base: Path
    port: int = field(default_factory=free_port)
    witness_port: int = field(default_factory=free_port)
    key: str = ""
    vkeys: dict[str, str] = field(default_factory=dict)
    caught: list[Caught] = field(default_factory=list)

    # ---- The operator's ----

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{OF_LEDGER}"

    def shell(self, house: str = "data", **variables: str) -> Shell:
        return Shell(data_dir=self.base / house).set(
            URL=f"http://127.0.0.1:{self.port}", KEY=self.key, **variables
        )

    @contextmanager
    def serving(self, house: str, *, witnessed: bool = False, **more: str) -> Iterator[None]:
        # What is verified by the clock would find some of it first, and at another time each run.
        variables = {"VERIFY_INTERVAL": "86400", "VERIFY_FULL_INTERVAL": "86400"} | more
        if witnessed:
            variables |= {"POLICY": str(self.kept("policy")), "WITNESS_INTERVAL": "1"}
        with self.shell(house, **variables).serving("--port", str(self.port)):
            yield

    def build_house(self, name: str, *, of: str, database: str) -> None:
        """A house with the keys and the signer's record of one, and the database of another."""
        (self.base / name).mkdir(mode=0o711)
        for house, part in ((of, "keys"), (of, "signer"), (database, "postgres")):
            # With their owners: the database's own user must find its files.
            subprocess.run(["cp", "-a", self.base / house / part, self.base / name], check=True)

    def post(self, *numbers: int, words: str = "card.capture") -> None:
        lines = (item(f"k{at}", **capture(type=words)) for at in numbers)
        file = self.base / "items.ndjson"
        file.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
        self.shell().good("import", LEDGER, file)

    # ---- Everybody else's ----

    def kept(self, name: str) -> Path:
        """What somebody keeps who is not the operator."""
        (self.base / "kept").mkdir(exist_ok=True)
        return self.base / "kept" / name

    def get(self, path: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=TIMEOUT_S)

    def keep_checkpoint(self, name: str) -> Path:
        self.kept(name).write_bytes(self.get(f"{OF_LEDGER}/log/checkpoint").content)
        return self.kept(name)

    def keep_copy(self, name: str, ledger: str = LEDGER) -> Path:
        words = ("export", ledger, "--tiles", self.kept(name))
        self.shell().good(*words, "--vkey", self.vkeys[ledger])
        return self.kept(name)

    def watch(self, *words: str | Path, memory: str, url: str | None = None) -> Done:
        """As an independent party does, which trusts the keys of both ledgers."""
        known = (part for vkey in self.vkeys.values() for part in ("--vkey", vkey))
        more = ("--once", "--tries", "1", "--memory", self.kept(memory), *words)
        return self.shell().run("watch", url or self.url, *known, *more)

    def verify(self, what: str | Path, *words: str | Path, ledger: str = LEDGER) -> Done:
        """As whoever holds evidence does, with the key of one ledger."""
        return self.shell().run("verify", what, "--vkey", self.vkeys[ledger], *words)

    def wait_for(self, path: str, holds: Callable[[str], bool] = bool) -> httpx.Response:
        """The answer at a path under the service's URL, once it is as it should be."""
        until = time.monotonic() + TIMEOUT_S
        while time.monotonic() < until:
            answer = self.get(path)
            if answer.is_success and holds(answer.text):
                return answer
            time.sleep(0.1)
        raise AssertionError(answer.text)

    def catch(self, attack: str, by: str, done: Done) -> None:
        """Note what a party said."""
        said = [line for line in done.err.splitlines() if line.startswith("effect-ledger: ")]
        assert said, done.err + done.out
        says = first_sentence(plain(said[0].removeprefix("effect-ledger: ")))
        self.caught.append(Caught(attack=attack, by=by, code=done.code, says=says))


def set_clock_of_database(data: Path, by: str) -> None:
    """Have the clock of a database be wrong for whoever connects next, as its superuser can."""
    with (
        open_server(data) as server,
        psycopg.connect(server.conninfo(SUPERUSER), autocommit=True) as superuser,
    ):
        superuser.execute("set allow_system_table_mods = on")
        superuser.execute("alter function pg_catalog.clock_timestamp() rename to true_clock")
        superuser.execute(
            "create function pg_catalog.clock_timestamp() returns timestamptz language sql "
            f"volatile as $$ select pg_catalog.true_clock() + interval '{by}' $$"
        )


@contextmanager
def served_as_files(directory: Path) -> Iterator[str]:
    """The URL of a directory, which may become another one meanwhile."""
    handler = partial(_Silent, directory=str(directory))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/log"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_words: Any) -> None:
        pass


# ---- The play -------------------------------------------------------------------------


def play(base: Path) -> list[Caught]:
    """All attacks, and what each party said."""
    on = Stage(base=base)
    the_past(on)
    evidence_is_misused(on)
    the_past_is_served_again(on)
    another_history_is_served(on)
    the_signer_is_shown_another_database(on)
    the_clock_of_the_database_lies(on)
    every_clock_of_the_operator_lies(on)
    timestamps_are_forged(on)
    return on.caught


@contextmanager
def _witness(on: Stage) -> Iterator[Running]:
    port = str(on.witness_port)
    with witness(on.base / "w1", *on.vkeys.values(), arguments=("--port", port)) as cosigner:
        yield cosigner


def the_past(on: Stage) -> None:
    """A backup at three entries; then a witness, and three more."""
    with on.serving("data", VERIFY_INTERVAL="20"):
        for name in (LEDGER, ANOTHER):
            on.vkeys[name] = on.shell().good("ledger", "create", name)["vkey"]
        made = on.shell().good("key", "create", "--name", "till", "--scope", "*")
        on.key = made["key"]
        on.post(*range(BEFORE))
        on.keep_checkpoint("older-checkpoint")
        on.wait_for(f"{OF_LEDGER}/verifications/latest")
    on.build_house("rolled-back", of="data", database="data")
    on.build_house("older", of="data", database="data")

    with _witness(on) as cosigner:
        lines = [f"log {on.vkeys[LEDGER]}"]
        lines += [f"witness w1 {cosigner.vkeys[0]} {cosigner.url}", "quorum w1"]
        on.kept("policy").write_text("".join(f"{line}\n" for line in lines))
    with on.serving("data", witnessed=True):
        with _witness(on):
            on.post(*range(BEFORE, AFTER))
            on.wait_for(COSIGNED, lambda note: note.split("\n")[1] == str(AFTER))
            assert on.watch(memory="memory").code == 0
            assert on.watch("--policy", on.kept("policy"), memory="cosigned").code == 0
            for url in (on.url, f"{on.url}/log"):
                told = on.verify(url, "--policy", on.kept("policy"), "--json")
                assert (told.code, told.json["cosigned_size"]) == (0, AFTER), told.err
        on.keep_checkpoint("checkpoint")
        on.shell().good("show", LEDGER, "5", "--receipt", on.kept("receipt"))
        on.shell().good("post", ANOTHER, "--key", "k0", "--type", "card.refund", *AT)
        on.keep_copy("copy")
        on.keep_copy("another-copy", ANOTHER)

        on.catch(
            "stale witness: the log goes on, and its witness has not looked",
            "watcher: `watch --policy --stale`",
            on.watch("--policy", on.kept("policy"), "--stale", "1s", memory="cosigned"),
        )


def evidence_is_misused(on: Stage) -> None:
    """Copies and receipts in the place of what they are not."""
    cut = on.kept("cut-copy")
    subprocess.run(["cp", "-a", on.kept("copy"), cut], check=True)
    bundle = cut / "tile/entries/000.p"
    octets = (bundle / str(AFTER)).read_bytes()
    (bundle / str(BEFORE)).write_bytes(_first(octets, BEFORE))
    (cut / "checkpoint").write_bytes(on.kept("older-checkpoint").read_bytes())
    # A shorter history that was signed: without a newer checkpoint nobody can tell.
    assert on.verify(cut).code == 0
    on.catch(
        "truncated tail: a copy ends earlier, with the checkpoint of then",
        "offline verifier: `verify DIR --checkpoint`",
        on.verify(cut, "--checkpoint", on.kept("checkpoint")),
    )
    (cut / "checkpoint").write_bytes(on.kept("checkpoint").read_bytes())
    (bundle / str(AFTER)).write_bytes(_first(octets, BEFORE))
    on.catch(
        "truncated tail: the newest entries are cut out of a copy",
        "offline verifier: `verify DIR`",
        on.verify(cut),
    )

    shown = on.base / "shown"
    shown.mkdir()
    (shown / "log").symlink_to(on.kept("copy"))
    with served_as_files(shown) as url:
        assert on.watch(memory="swapped", url=url).code == 0
        (shown / "log").unlink()
        (shown / "log").symlink_to(on.kept("another-copy"))
        on.catch(
            "swapped ledgers: another ledger is served in the place of one",
            "watcher: `watch`",
            on.watch(memory="swapped", url=url),
        )
    on.catch(
        "receipt replayed to another ledger",
        "receipt holder: `verify RECEIPT`, with that ledger's key",
        on.verify(on.kept("receipt"), ledger=ANOTHER),
    )
    moved = orjson.loads(on.kept("receipt").read_bytes())
    note = (on.kept("another-copy") / "checkpoint").read_text()
    moved["proof"] = f"{moved['proof'].partition(chr(10) * 2)[0]}\n\n{note}"
    on.kept("moved").write_bytes(orjson.dumps(moved))
    on.catch(
        "receipt replayed to another ledger, under that ledger's checkpoint",
        "receipt holder: `verify RECEIPT`, with that ledger's key",
        on.verify(on.kept("moved"), ledger=ANOTHER),
    )


def _first(bundle: bytes, entries: int) -> bytes:
    at = 0
    for _ in range(entries):
        at += 2 + int.from_bytes(bundle[at : at + 2])
    return bundle[:at]


def the_past_is_served_again(on: Stage) -> None:
    """The backup, with the signer's record of then: the operator forgets all of it."""
    with on.serving("rolled-back"):
        on.catch(
            ROLLBACK,
            "watcher: `watch`",
            on.watch(memory="memory"),
        )
        on.catch(
            ROLLBACK,
            "offline verifier: `verify URL/log --checkpoint`",
            on.verify(f"{on.url}/log", "--checkpoint", on.kept("checkpoint")),
        )
    on.build_house("rolled-back-too", of="rolled-back", database="rolled-back")
    with _witness(on), on.serving("rolled-back-too", witnessed=True):
        on.catch(ROLLBACK, "witness: then `post`", _post_until_stopped(on))


def another_history_is_served(on: Stage) -> None:
    """The backup goes on with other entries: two databases, one key."""
    with on.serving("rolled-back"):
        on.post(*range(BEFORE, AFTER), words="card.forged")
        on.keep_checkpoint("forged-checkpoint")
        on.keep_copy("forged-copy")
        seen = on.watch(memory="memory")
        on.catch(FORK, "watcher: `watch`", seen)
        [evidence] = on.kept("memory.evidence").glob("*/fork.json")
        done = on.verify(evidence)
        # The judgement is the output here, and no error of the command's.
        first = next(line for line in done.out.splitlines() if "two histories" in line)
        on.caught.append(
            Caught(
                attack=FORK,
                by="anybody, from the watcher's evidence: `verify fork.json`",
                code=done.code,
                says=plain(first.strip()),
            )
        )
        on.catch(
            "split view: a reader without a past is shown the other history",
            "watcher: `watch --policy`",
            on.watch("--policy", on.kept("policy"), memory="new-reader"),
        )
    on.build_house("forged", of="rolled-back", database="rolled-back")
    with _witness(on), on.serving("rolled-back", witnessed=True):
        on.catch(
            "split view: the other history is brought to the witness",
            "witness: then `post`",
            _post_until_stopped(on),
        )
    on.catch(
        RE_SIGNED,
        "offline verifier: `verify DIR --checkpoint`",
        on.verify(on.kept("forged-copy"), "--checkpoint", on.kept("checkpoint")),
    )
    on.catch(
        RE_SIGNED,
        "receipt holder: `verify RECEIPT --checkpoint`",
        on.verify(on.kept("receipt"), "--checkpoint", on.kept("forged-checkpoint")),
    )


def _post_until_stopped(on: Stage) -> Done:
    """What a poster is told once the witness has refused the ledger's checkpoint."""
    on.wait_for("/readyz", lambda ready: json.loads(ready)["ledgers_stopped"] > 0)
    return on.shell().run("post", LEDGER, "--key", "n", "--type", "card.capture", *AT)


def the_signer_is_shown_another_database(on: Stage) -> None:
    """What is restored is the database alone: the signer's record is where it was."""
    for database, attack in (
        ("older", "rollback: an older dump is restored, and served"),
        ("forged", "fork: the database of another service with the same key is put in"),
    ):
        house = f"signer-and-{database}"
        on.build_house(house, of="data", database=database)
        with on.serving(house):
            done = on.shell().run("post", LEDGER, "--key", "n", "--type", "card.capture", *AT)
        on.catch(attack, "signer: the answer to `post`", done)


def the_clock_of_the_database_lies(on: Stage) -> None:
    """Set by its superuser, while the service's own clock is right."""
    on.build_house("lying", of="data", database="data")
    set_clock_of_database(on.base / "lying", "-1 hour")
    with on.serving("lying"):
        on.catch(
            "lying clock: the database's is set back an hour",
            "service: the answer to `post`",
            on.shell().run("post", LEDGER, "--key", "late", "--type", "card.capture", *AT),
        )


def every_clock_of_the_operator_lies(on: Stage) -> None:
    """Who has the key may date entries as they like; a witness has a clock of its own."""
    origin = f"elsewhere.example/{LEDGER}"
    key = NoteKey(name=origin, private_key=Ed25519PrivateKey.generate())
    genuine = orjson.loads(on.kept("receipt").read_bytes())
    entry = parse_entry(genuine["entry"].encode())
    admitted = Admitted(
        effect=entry.effect, id=entry.id, poster=entry.poster, payloads=(), signature=None
    )
    at = format_time(datetime.now(UTC) + timedelta(days=1))
    [forged], head = chain(Head.genesis(ledger=LEDGER, origin=origin), [admitted], recorded_at=at)
    note = sign_checkpoint(Checkpoint(origin=origin, size=1, root=head.root), key)
    with witness(on.base / "w2", key.verifier) as cosigner:
        answer = cosigner.post(AddCheckpoint(old_size=0, proof=(), note=note).encode())
        answer.raise_for_status()
    prover = BatchProver(Frontier.empty(), [forged.hash])
    proof = TlogProof(
        index=0, hashes=tuple(prover.inclusion_proof(0)), checkpoint_note=note + answer.content
    )
    receipt = Receipt(level="cosigned", proof=proof.encode(), entry=forged.encoded)
    on.kept("dated").write_bytes(orjson.dumps(receipt.to_document()))
    words = ("verify", on.kept("dated"), "--vkey", key.verifier.encode())
    done = on.shell().run(*words, "--witness", cosigner.vkeys[0])
    first = next(line for line in done.out.splitlines() if "time.witnessed" in line)
    on.caught.append(
        Caught(
            attack="lying clock: every clock of the operator is a day ahead",
            by="receipt holder: `verify RECEIPT --witness`",
            code=done.code,
            says=plain(first.strip()),
        )
    )


# ---- Timestamps -----------------------------------------------------------------------


def timestamps_are_forged(on: Stage) -> None:
    """A receipt that an authority stands for, and others' tokens in the place of its token."""
    genuine = authority(on.base / "authority")
    expired = authority(on.base / "expired", until=-DAY)
    stranger = authority(on.base / "stranger")
    variables = {"TSA_CERTIFICATES": str(genuine.root), "TSA_INTERVAL": "1"}
    with listening(genuine) as url, on.serving("data", TSA_URL=url, **variables):
        # The registry is what is timestamped, and other ledgers inherit it.
        path = "/v1/ledgers/_registry/entries/0/receipt?level=timestamped"
        receipt = orjson.loads(on.wait_for(path).content)
        ledgers = on.shell().good("ledger", "list")["ledgers"]
    on.vkeys["_registry"] = next(e["vkey"] for e in ledgers if e["ledger"] == "_registry")
    stamped = log_part(parse_tlog_proof(receipt["proof"]).checkpoint_note)
    on.kept("stamped").write_bytes(orjson.dumps(receipt))
    words = (on.kept("stamped"), "--tsa-certificates", genuine.root)
    assert on.verify(*words, ledger="_registry").code == 0
    forgeries = {
        "expired TSA token: its certificate had expired at its time": (expired, expired, stamped),
        "wrong TSA token: by an authority that nobody trusts": (stranger, genuine, stamped),
        "wrong TSA token: by the right authority, over something else": (genuine, genuine, b"else"),
    }
    for attack, (signs, trusted, octets) in forgeries.items():
        token = base64.b64encode(signs.reply(build_query(octets).encoded)).decode()
        on.kept("stamped").write_bytes(orjson.dumps(receipt | {"timestamp": token}))
        words = (on.kept("stamped"), "--tsa-certificates", trusted.root)
        on.catch(
            attack,
            "offline verifier: `verify RECEIPT --tsa-certificates`",
            on.verify(*words, ledger="_registry"),
        )
