"""The commands, run as people and scripts run them, beside a real service."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ledger.service import Service, open_service
from ledger.settings import read_settings
from ledger.storage.embedded import attach
from tests.integration.commands import COMMAND, TIMEOUT_S, Shell, free_port, settled_directory

CAPTURE = ("--type", "card.capture", "--amount", "100.00", "--currency", "EUR", "--flow", "in")
REFUND = ("--currency", "EUR", "--reason", "customer.request")
AT = ("--occurred-at", "2026-03-01T09:30:00Z")


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    with settled_directory() as path:
        yield path


@pytest.fixture(scope="module")
def shell(base) -> Iterator[Shell]:
    """A shell beside a running service, with a key for everything."""
    alone = Shell(data_dir=base / "data")
    with alone.serving() as (_, announced):
        made = alone.good("key", "create", "--name", "tester", "--scope", "*")
        yield alone.set(URL=announced["url"], KEY=made["key"])


@pytest.fixture(scope="module")
def service(shell) -> Iterator[Service]:
    """The same database, from within."""
    with open_service(read_settings(shell.environment)) as opened:
        yield opened


@pytest.fixture
def ledger(service) -> str:
    """A fresh ledger."""
    return str(service.registry.create_ledger(f"t-{uuid.uuid4().hex[:12]}").name)


@pytest.fixture
def size(service, ledger) -> Callable[[], int]:
    """How many entries it has now."""
    return lambda: service.reader.size(ledger)


@pytest.fixture
def vkey(service, ledger) -> str:
    """Its public key."""
    return str(service.reader.ledger(ledger).vkey)


# ---- Every command --------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("post", "shop"),
        ("key", "create", "--name", "x"),
        ("key", "create", "--name", "x", "--scope", "*", "--expires", "soon"),
        ("key", "revoke", "nobody"),
        ("ledger", "create", "x", "--unit", "USDC"),
        ("ledger", "create", "x", "--time-zone", "Mars/Olympus"),
        ("ledger", "create", "x", "--origin", "example.com/other"),
        ("post", "shop", "--key", "has space"),
        ("post", "shop", "--key", "k", "--label", "nonsense"),
        ("post", "shop", "--key", "k", "--evidence", "a:b"),
        ("post", "shop", "--key", "k", "--file", "/nonexistent"),
        ("post", "no-such-ledger", "--key", "k", *CAPTURE),
        ("refund", "shop", "--key", "k", *REFUND),
        ("refund", "shop", "an-id", "--corrects-key", "a", "--key", "k", *REFUND),
        ("explain", "shop", "0", "--key", "k", "--reason", "asked", "--note", "why"),
        ("show", "shop"),
        ("import", "shop", "/nonexistent"),
        ("verify", "/nonexistent", "--vkey", "nonsense"),
        ("verify", "/nonexistent"),
        ("verify", "http://127.0.0.1:1/somewhere"),
        ("serve", "--port", "99999"),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_plain_line_and_one_json_object(shell, arguments):
    """Exit code 2, an error object for programs, a sentence for people, no traceback."""
    done = shell.run(*arguments, "--json")

    assert done.code == 2
    assert set(done.json["error"]) >= {"message", "code", "details"}
    errors = [line for line in done.err.splitlines() if line.startswith("effect-ledger: ")]
    assert len(errors) == 1


def test_a_key_that_cannot_be_is_refused_before_anything_is_said_to_happen(shell):
    done = shell.run("post", "shop", "--key", "", *CAPTURE)

    assert (done.code, "again" in done.err) == (2, False)


def test_without_a_command_the_help_is_the_answer(shell):
    """Whoever types the bare name sees what there is."""
    done = shell.run()

    assert (done.code, done.out) == (2, "")
    assert "For services, which record effects:\n  post " in done.err


def test_settings_hide_secrets_and_show_sources(shell):
    """A screenshot of it gives nothing away."""
    done = shell.set(PAYLOAD_KEY="c2VjcmV0", PORT="9000").run("settings", "--json")

    lines = {line["name"]: line for line in done.json["settings"]}
    assert (
        lines["EFFECT_LEDGER_PORT"] | {"value": "9000", "source": "environment"}
        == (lines["EFFECT_LEDGER_PORT"])
    )
    assert "c2VjcmV0" not in done.out + done.err


def test_nobody_who_answers_is_told_apart_from_a_refusal(shell, ledger, vkey):
    """Exit code 3: nothing is wrong with the command, and it may be run again."""
    url = f"http://127.0.0.1:{free_port()}"
    stranger = shell.set(KEY="elk_a_b")
    for words in (("tail", ledger), ("verify", f"{url}/v1/ledgers/{ledger}/log", "--vkey", vkey)):
        done = stranger.set(URL=url).run(*words, "--json")
        assert done.code == 3, done.err
        assert done.out.endswith("}\n")
        assert "error" in done.json
    assert stranger.run("tail", ledger).code == 2


def test_without_a_service_the_way_out_is_told(shell):
    """Nothing answers: the sentence names the command that changes that."""
    done = shell.set(URL=f"http://127.0.0.1:{free_port()}", KEY="elk_a_b").run("tail", "shop")

    assert done.code == 3
    assert "effect-ledger serve" in done.err


def test_a_missing_key_is_told_with_the_command_that_makes_one(shell):
    """Client commands cannot start without a key."""
    done = shell.set(KEY="").run("tail", "shop")

    assert done.code == 2
    assert "effect-ledger key create" in done.err


# ---- Ledgers and keys -----------------------------------------------------------------


def test_a_ledger_is_created_beside_the_running_service(shell):
    """The service writes to it at once, and asking again changes nothing."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    arguments = ("ledger", "create", name, "--unit", "USDC=6", "--time-zone", "Europe/Berlin")

    made, again = shell.good(*arguments), shell.good(*arguments)

    assert made == again
    assert set(made) == {"ledger", "origin", "vkey"}
    assert made["origin"].endswith(f"/{name}")
    usdc = ("--type", "payout", "--amount", "0.000001", "--currency", "USDC", "--flow", "out")
    assert shell.good("post", name, "--key", "k", *usdc, *AT)["seq"] == 0


def test_a_ledger_with_other_properties_is_not_the_same(shell, ledger):
    """Units and time zone are fixed at creation."""
    done = shell.run("ledger", "create", ledger, "--unit", "USDC=6", "--json")

    assert done.code == 2
    assert done.json["error"]["code"] == "LEDGER_EXISTS"


def test_a_public_log_warns_what_becomes_public(shell):
    """It cannot be taken back, so it is said."""
    done = shell.run("ledger", "create", f"t-{uuid.uuid4().hex[:12]}", "--public-log")

    assert done.code == 0
    assert "anyone may read" in done.err


def test_a_key_is_shown_once_and_says_how_far_it_reaches(shell, ledger):
    """The list does not have it, and neither has standard error."""
    done = shell.run(
        "key",
        "create",
        "--name",
        "checkout",
        "--scope",
        "effects:write",
        "--ledger",
        ledger,
        "--json",
    )

    made = done.json
    assert set(made) == {"id", "principal", "key"}
    assert made["key"] not in done.err
    assert ledger in done.err
    assert made["key"].rpartition("_")[2] not in shell.run("key", "list").out
    [line] = [each for each in shell.good("key", "list")["keys"] if each["id"] == made["id"]]
    assert (line["state"], line["ledgers"], line["scopes"]) == ("good", [ledger], ["effects:write"])


def test_a_key_without_ledgers_says_that_it_reaches_all(shell):
    """Present and future: whoever makes it should know."""
    done = shell.run("key", "create", "--name", "wide", "--scope", "verify", "--expires", "90d")

    assert "all ledgers, present and future" in done.err


def test_a_revoked_key_opens_nothing(shell, ledger):
    """Safe to repeat; a service that has not met the key refuses it at once."""
    made = shell.good("key", "create", "--name", "gone", "--scope", "*")
    first, again = (shell.good("key", "revoke", made["id"]) for _ in range(2))

    assert first == again
    assert first["state"] == "revoked"
    done = shell.set(KEY=made["key"]).run("tail", ledger, "--json")
    assert done.json["error"]["code"] == "UNAUTHENTICATED"


# ---- What happened --------------------------------------------------------------------


def test_a_repeated_post_replays(shell, ledger):
    """Same key, same words: the same entry."""
    arguments = ("post", ledger, "--key", "k", *CAPTURE, *AT, "--subject", "order/1")

    first, again = shell.good(*arguments), shell.good(*arguments)

    assert first["id"] == again["id"]
    assert (first["replayed"], again["replayed"]) == (False, True)


def test_the_time_that_was_filled_in_is_told_with_the_command_to_repeat(shell, ledger):
    """The time is part of the request: what is printed replays, the same words anew would not."""
    done = shell.run("post", ledger, "--key", "k 1".replace(" ", "-"), *CAPTURE, "--json")
    again = done.err.partition("again: effect-ledger ")[2].splitlines()[0]

    replayed = shell.run(*shlex.split(again))
    other = shell.run("post", ledger, "--key", "k-1", *CAPTURE, "--json")

    assert replayed.json["id"] == done.json["id"]
    assert replayed.json["replayed"] is True
    assert other.json["error"]["code"] == "IDEMPOTENCY_CONFLICT"


def test_every_word_reaches_the_entry(shell, ledger, tmp_path):
    """Options come on top of a file, member by member of the money."""
    file = tmp_path / "body.json"
    file.write_text(
        json.dumps(
            {"type": "card.capture", "money": {"amount": "1.00", "currency": "EUR", "flow": "in"}}
        )
    )
    posted = shell.good(
        *("post", ledger, "--key", "k", "--file", file, "--amount", "2.00", *AT),
        *("--subject", "order/1", "--business-key", "capture/1", "--actor", "agent:agent-7"),
        *("--handoff", "settled", "--label", "shop=berlin", "--label", "till=3"),
        *("--evidence", "stripe:transaction:ch:1:2", "--cause", "trace:4bf9"),
        *("--note", "words", "--observed"),
    )

    effect = shell.good("show", ledger, posted["id"])["entry"]["effect"]
    assert effect["money"] == {"amount": "2.00", "currency": "EUR", "flow": "in"}
    assert effect["actor"] == {"id": "agent-7", "kind": "agent"}
    assert effect["labels"] == {"shop": "berlin", "till": "3"}
    assert effect["evidence"] == [{"system": "stripe", "rel": "transaction", "ref": "ch:1:2"}]
    assert effect["causes"] == [{"kind": "trace", "ref": "4bf9"}]
    assert effect["handoff"] == {"point": "settled"}
    assert effect["observed"] is True
    assert posted["payloads"][0]["name"] == "note"


def test_a_body_may_come_from_standard_input(shell, ledger):
    """`--file -` fits a pipe."""
    posted = shell.good(
        *("post", ledger, "--key", "k", "--file", "-", *AT), stdin='{"type":"email.sent"}'
    )

    assert posted["seq"] == 0


def test_corrections_name_their_target_by_id_or_key(shell, ledger):
    """Refund, adjustment and explanation, and the story shows them under the effect."""
    paid = shell.good("post", ledger, "--key", "pay", *CAPTURE, *AT)
    refund = shell.good(
        "refund", ledger, paid["id"], "--key", "r", "--amount", "30.00", *REFUND, *AT
    )
    shell.good(
        *("adjust", ledger, "--corrects-key", "r", "--key", "a", "--type", "refund.failed", *AT),
        *("--amount", "-30.00", "--currency", "EUR", "--flow", "out", "--reason", "bank.rejected"),
    )
    shell.good(
        *("explain", ledger, refund["id"], "--key", "e", "--reason", "asked", "--note", "why", *AT)
    )

    story = shell.good("show", ledger, "--key", "pay")
    assert story["story"]["position"]["remaining"] == "100.00"
    assert [each["seq"] for each in story["corrected_by"]] == [refund["seq"]]
    below = shell.good("show", ledger, str(refund["seq"]))["corrected_by"]
    assert [each["entry"]["effect"]["kind"] for each in below] == ["adjustment", "explanation"]


def test_show_tells_what_can_still_be_undone(shell, ledger):
    """The question the word rollback hides, answered for people too."""
    shell.good("post", ledger, "--key", "pay", *CAPTURE, *AT)
    shell.good(
        "refund", ledger, "--corrects-key", "pay", "--key", "r", "--amount", "30.00", *REFUND, *AT
    )

    told = shell.run("show", ledger, "--key", "pay").out

    assert told.startswith("Entry ")
    assert "Give back what remains (70.00 EUR)." in told
    assert "Was given back already (30.00 EUR)." in told


def test_show_has_corrections_of_corrections_under_their_own(shell, ledger):
    """A person reads the lineage from the page: who corrects whom, and how much."""
    shell.good("post", ledger, "--key", "pay", *CAPTURE, *AT)
    shell.good(
        "refund", ledger, "--corrects-key", "pay", "--key", "r", "--amount", "30.00", *REFUND, *AT
    )
    shell.good(
        *("adjust", ledger, "--corrects-key", "r", "--key", "a", "--type", "refund.failed", *AT),
        *("--amount", "-30.00", "--currency", "EUR", "--flow", "out", "--reason", "bank.rejected"),
    )

    told = shell.run("show", ledger, "--key", "pay").out.splitlines()

    refund, failed = told[told.index("Corrected by") + 1 :][:2]
    assert refund.split() == ["1", ANY, "refund", "refund", "30.00", "EUR", "out", "r"]
    assert failed.split() == ["2", ANY, "adjustment", "refund.failed", "-30.00", "EUR", "out", "a"]
    assert indent(failed) == indent(refund) + 2


def indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def test_an_over_refund_says_its_world_first(shell, ledger):
    """The sentence begins with what can still be undone, and the way out ends it."""
    shell.good("post", ledger, "--key", "pay", *CAPTURE, *AT)
    done = shell.run(
        *(
            "refund",
            ledger,
            "--corrects-key",
            "pay",
            "--key",
            "r",
            "--amount",
            "100.01",
            *REFUND,
            *AT,
        ),
        "--json",
    )

    assert done.code == 2
    assert done.err.startswith("effect-ledger: RML-3 history: ")
    error = done.json["error"]
    assert (error["code"], error["action"]) == ("OVER_REFUND", "escalate-history")
    assert error["details"]["remaining"] == "100.00"


def test_a_correction_of_an_original_elsewhere_is_taken_as_observed(shell, ledger):
    """It has no position here, so it needs evidence."""
    recorded = shell.good(
        *("refund", ledger, "--corrects-external", "old:17", "--key", "r", "--amount", "5.00"),
        *(*REFUND, *AT, "--observed", "--evidence", "psp:transaction:re_1"),
    )

    assert recorded["seq"] == 0


def test_a_dry_run_leaves_no_trace(shell, ledger, size):
    """No entry, no number, and the key is free."""
    asked = shell.run("post", ledger, "--key", "k", *CAPTURE, "--dry-run")
    assert asked.code == 0
    assert asked.out.startswith("RML-1 closed: nothing was written")
    assert "again" not in asked.err

    assert size() == 0
    other = ("--type", "email.sent", *AT)
    assert shell.good("post", ledger, "--key", "k", *other)["replayed"] is False


# ---- Intents --------------------------------------------------------------------------


def say(shell: Shell, ledger: str, path: str, key: str, **words: Any) -> Any:
    answer = httpx.post(
        f"{shell.environment['EFFECT_LEDGER_URL']}/v1/ledgers/{ledger}/intents{path}",
        headers={
            "Authorization": f"Bearer {shell.environment['EFFECT_LEDGER_KEY']}",
            "Idempotency-Key": key,
        },
        json=words,
    )
    assert answer.is_success, answer.text
    return answer.json()


def test_whoever_is_on_call_sees_what_waits(shell, ledger):
    """Open and unknown intents with their world and age, and what to do about one."""
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    promise = {"type": "card.capture", "subject": "order/1", "answer_by": later}
    money = {"amount": "5.00", "currency": "EUR", "flow": "in"}
    first = say(shell, ledger, "", "k1", **promise, money=money)["id"]
    lost = say(shell, ledger, "", "k2", **promise, on_silence="escalate")["id"]
    say(shell, ledger, f"/{lost}/execution", "k3", step="started", token=1, executor="w-7")
    doubt = {"step": "error", "token": 2, "outcome": "unknown", "reason": "psp.timeout"}
    say(shell, ledger, f"/{lost}/execution", "k4", **doubt)

    listed = shell.run("intent", "list", ledger)
    shown = shell.run("intent", "show", ledger, lost)

    header, *lines = listed.out.splitlines()
    assert header.split()[:3] == ["WORLD", "STATE", "AGE"]
    assert [(line.split()[0], line.split()[1], line.split()[-1]) for line in lines] == [
        ("RML-2", "promised", first),
        ("RML-2", "unknown", lost),
    ]
    assert "5.00 EUR in of order/1" in lines[0]
    assert shown.out.startswith("RML-2 dialog: unknown. Nobody knows what became of it.")
    assert "unknown psp.timeout" in shown.out
    assert shell.good("intent", "show", ledger, lost)["events"][1]["said"] == {"executor": "w-7"}
    unknown = shell.good("intent", "list", ledger, "--state", "unknown")["intents"]
    assert [each["id"] for each in unknown] == [lost]
    say(shell, ledger, f"/{first}/cancellation", "k5", token=1)
    assert len(shell.good("intent", "list", ledger)["intents"]) == 1
    assert len(shell.good("intent", "list", ledger, "--state", "all")["intents"]) == 2
    assert "It was given up" in shell.run("intent", "show", ledger, first).out
    assert "No intent is like that" in shell.run("intent", "list", ledger, "--subject", "x").out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("list", "--older-than", "soon"), "older_than must be a span"),
        (("list", "--state", "lost"), "state"),
        (("show", "nobody"), "there is no intent nobody"),
    ],
)
def test_a_question_about_intents_that_is_none_is_told(shell, ledger, arguments, says):
    done = shell.run("intent", arguments[0], ledger, *arguments[1:])

    assert done.code == 2
    assert says in done.err


def test_a_key_tells_as_much_of_worlds_as_its_maker_says(shell, ledger):
    made = shell.good("key", "create", "--name", "p", "--scope", "*", "--labels", "none")

    done = shell.set(KEY=made["key"]).run("post", ledger, "--key", "k", "--json")

    assert done.code == 2
    assert not {"world", "action", "reason", "severity"} & done.json["error"].keys()
    assert done.json["error"]["code"] == "MALFORMED_EFFECT"
    [line] = [each for each in shell.good("key", "list")["keys"] if each["id"] == made["id"]]
    assert line["labels"] == "none"
    assert shell.run("key", "create", "--name", "p", "--scope", "*", "--labels", "x").code == 2


def test_tail_shows_the_last_ten_and_resumes_after_any(shell, ledger, tmp_path):
    """A position is the seq of the last entry seen."""
    file = tmp_path / "items.ndjson"
    file.write_text("".join(item(f"k-{at}") for at in range(15)))
    shell.good("import", ledger, file)

    assert [each["seq"] for each in shell.good("tail", ledger)["entries"]] == list(range(5, 15))
    rest = shell.good("tail", ledger, "--after", "12")
    assert [each["seq"] for each in rest["entries"]] == [13, 14]
    assert rest["next_after"] == 14
    assert len(shell.run("tail", ledger, "--after", "-1").out.splitlines()) == 15


@pytest.fixture
def heeding():
    """Programs started here heed Ctrl-C also where the suite itself was started to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeding")
def test_following_goes_on_as_entries_come(shell, ledger):
    """One JSON object per entry; Ctrl-C ends it and tells how to resume."""
    following = subprocess.Popen(
        [*COMMAND, "tail", ledger, "--follow", "--json"],
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        assert following.stdout is not None
        for seq in range(2):
            shell.good("post", ledger, "--key", f"k-{seq}", *CAPTURE, *AT)
            assert json.loads(following.stdout.readline())["seq"] == seq
        following.send_signal(signal.SIGINT)
        _, told = following.communicate(timeout=TIMEOUT_S)
    finally:
        following.kill()
        following.wait()

    assert following.returncode == 0
    assert "--after 1" in told


def test_what_was_not_recorded_is_not_called_history(shell, ledger, tmp_path):
    """Neither by the headline of an import nor by a hint how to send it again."""
    file = tmp_path / "no-items"
    file.write_text("root:x:0:0\n" * 3)
    imported = shell.run("import", ledger, file)
    posted = shell.run("post", ledger, "--key", "", *CAPTURE)

    assert (imported.code, posted.code) == (1, 2)
    assert imported.out.startswith("RML-1 closed: nothing was recorded of 3 items")
    assert "It happens now" not in posted.err


def test_a_reader_that_has_enough_is_no_error(shell, ledger, tmp_path):
    """`tail | head` is how people look."""
    file = tmp_path / "items.ndjson"
    file.write_text("".join(item(f"k-{at}", subject="x" * 200) for at in range(600)))
    shell.good("import", ledger, file)
    tail = shlex.join([*COMMAND, "tail", ledger, "--after", "-1"])

    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{tail} | head -n 1"],
        env=shell.environment,
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


# ---- Import ---------------------------------------------------------------------------


def item(key: str, **members: Any) -> str:
    """One line of an import."""
    document = {
        "kind": "effect",
        "key": key,
        "type": "card.capture",
        "occurred_at": "2026-03-01T09:30:00Z",
        "money": {"amount": "10.00", "currency": "EUR", "flow": "in"},
    }
    return json.dumps(document | members) + "\n"


REFUND_ITEM = {
    "kind": "refund",
    "reason": "customer.request",
    "money": {"amount": "2.50", "currency": "EUR", "flow": "out"},
}
ELSEWHERE = {
    "corrects_external": {"system": "old", "ref": "1"},
    "observed": True,
    "evidence": [{"system": "psp", "rel": "transaction", "ref": "re_1"}],
}


def test_an_import_counts_and_may_be_repeated(shell, ledger, tmp_path, size):
    """Again: everything is replayed, nothing recorded, and the totals are the same."""
    file = tmp_path / "items.ndjson"
    file.write_text(
        item("a")
        + item("b", money={"amount": "1500", "currency": "JPY", "flow": "out"})
        + "\n"
        + item("c", **REFUND_ITEM, corrects_key="a")
        + item("d", **REFUND_ITEM, **ELSEWHERE)
    )

    first, again = shell.good("import", ledger, file), shell.good("import", ledger, file)

    assert (first["recorded"], first["replayed"], first["refused"]) == (4, 0, 0)
    assert (again["recorded"], again["replayed"], again["refused"]) == (0, 4, 0)
    assert first["unlinked"] == again["unlinked"] == 1
    assert (
        first["totals"]
        == again["totals"]
        == {
            "EUR": {"in": "10.00", "out": "5.00"},
            "JPY": {"in": "0", "out": "1500"},
        }
    )
    assert size() == 4


def test_refused_lines_are_told_by_number_and_the_rest_is_recorded(shell, ledger, tmp_path, size):
    """Exit code 1; the file of errors has the lines, to be corrected and sent again."""
    file, errors = tmp_path / "items.ndjson", tmp_path / "errors.ndjson"
    file.write_text(
        item("a")
        + "\n"
        + "{not json\n"
        + item("b", money={"amount": "1.234", "currency": "EUR", "flow": "in"})
        + item(
            "c",
            **(REFUND_ITEM | {"money": {"amount": "99.00", "currency": "EUR", "flow": "out"}}),
            corrects_key="a",
        )
        + item("d").rstrip("\n")
    )

    done = shell.run("import", ledger, file, "--errors", errors, "--json")

    assert done.code == 1
    assert (done.json["recorded"], done.json["refused"]) == (2, 3)
    refused = [json.loads(line) for line in errors.read_text().splitlines()]
    assert [each["line"] for each in refused] == [3, 4, 5]
    assert [each["problem"]["code"] for each in refused] == [
        "MALFORMED_JSON",
        "MALFORMED_EFFECT",
        "OVER_REFUND",
    ]
    assert refused[0]["item"] == "{not json"
    assert "line 5: RML-3 history" in done.err
    assert size() == 2
    # What stands is what is called history, and nothing where nothing stands.
    assert shell.run("import", ledger, file).out.startswith("RML-3 history: 2 of 5 items")
    file.write_text("Dear ledger,\n")
    assert shell.run("import", ledger, file).out.startswith("RML-1 closed: nothing was recorded")
    assert size() == 2


def test_an_import_is_sent_in_batches_and_corrects_across_them(shell, ledger, size):
    """More items than one request may carry, from a pipe."""
    lines = "".join(item(f"k-{at}") for at in range(1_100))
    last = item("refund", **REFUND_ITEM, corrects_key="k-0")

    told = shell.good("import", ledger, "-", stdin=lines + last)

    assert told["recorded"] == 1_101
    assert size() == 1_101


def test_progress_goes_to_standard_error_and_only_where_it_is_wanted(shell, ledger, tmp_path):
    """A pipe gets the result alone."""
    file = tmp_path / "items.ndjson"
    file.write_text(item("a"))

    assert shell.run("import", ledger, file, "--json").err == ""
    quiet = shell.run("import", ledger, file, "--quiet")
    assert quiet.err == ""
    assert "replayed  1" in quiet.out


def test_a_dry_run_of_a_file_says_what_an_import_would_do(shell, ledger, tmp_path, size):
    """Refusals are told by line, and nothing is there afterwards."""
    file = tmp_path / "items.ndjson"
    over = REFUND_ITEM | {"money": {"amount": "99.00", "currency": "EUR", "flow": "out"}}
    file.write_text(item("a") + item("r", **over, corrects_key="a"))

    done = shell.run("dry-run", ledger, file, "--json")

    assert done.code == 1
    assert (done.json["would_record"], done.json["would_refuse"]) == (1, 1)
    assert done.json["lines_refused"][0]["problem"]["code"] == "OVER_REFUND"
    assert size() == 0


# ---- Verify ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proven(service) -> str:
    """The ledger of the receipts."""
    return str(service.registry.create_ledger(f"t-{uuid.uuid4().hex[:12]}").name)


@pytest.fixture(scope="module")
def proven_vkey(service, proven) -> str:
    return str(service.reader.ledger(proven).vkey)


@pytest.fixture(scope="module")
def receipts(shell, proven, tmp_path_factory) -> dict[str, Path]:
    """One receipt in the three forms it is kept in."""
    kept = tmp_path_factory.mktemp("receipts")
    forms = {
        "document": kept / "receipt.json",
        "answer": kept / "answer.json",
        "text": kept / "r.tlog-proof",
    }
    shell.good("post", proven, "--key", "first", *CAPTURE, *AT)
    words = ("post", proven, "--key", "k", *CAPTURE, *AT, "--receipt", forms["document"])
    forms["answer"].write_text(json.dumps(shell.good(*words)))
    shell.good("show", proven, "1", "--receipt", forms["text"])
    return forms


@pytest.mark.parametrize("form", ["document", "answer", "text"])
def test_a_receipt_verifies_offline_in_every_form(proven, receipts, form, proven_vkey):
    """Without service, key or data directory: the file and the vkey are enough."""
    alone = Shell(data_dir=Path("/nonexistent"))
    done = alone.run("verify", receipts[form], "--vkey", proven_vkey, "--json")

    assert done.code == 0, done.err
    assert (done.json["level"], done.json["seq"], done.json["ledger"]) == ("log-signed", 1, proven)
    assert done.json["not_checked"]


def test_a_receipt_fetched_later_proves_the_same_entry(
    shell, proven, receipts, tmp_path, proven_vkey
):
    """Under a larger tree, with a longer proof."""
    shell.good("post", proven, "--key", "later", *CAPTURE, *AT)
    fetched = tmp_path / "fetched.json"
    shell.good("show", proven, "1", "--receipt", fetched)

    first, later = (
        shell.good("verify", file, "--vkey", proven_vkey)
        for file in (receipts["document"], fetched)
    )

    assert (first["entry_hash"], first["size"]) == (later["entry_hash"], later["size"] - 1)


def test_verifier_keys_may_come_from_a_file(shell, service, receipts, tmp_path, proven_vkey):
    """Other keys beside the right one do no harm."""
    keys = tmp_path / "keys"
    registry = service.reader.ledger("_registry")
    keys.write_text(f"# ours\n\n{registry.vkey}\n{proven_vkey}\n")

    assert shell.run("verify", receipts["document"], "--keys", keys).code == 0


def damaged(receipts: dict[str, Path]) -> dict[str, str]:
    """Texts of receipts that prove nothing, by what was done to them."""
    document, answer = (json.loads(receipts[form].read_text()) for form in ("document", "answer"))
    text = receipts["text"].read_text()
    index = document["proof"].replace("index 1", "index 0")
    return {
        "amount": json.dumps(document | {"entry": document["entry"].replace("100.00", "900.00")}),
        "place": json.dumps(document | {"proof": index}),
        "unsigned": json.dumps(document | {"level": "unsigned", "proof": None}),
        "no-signature": json.dumps(document | {"proof": document["proof"].rpartition("\n\n")[0]}),
        "answer-says-other-hash": json.dumps(answer | {"entry_hash": "0" * 64}),
        "text-truncated": text[: len(text) // 2],
        "not-a-receipt": '{"receipt": {}}',
        "json-truncated": json.dumps(document)[:-20],
    }


def test_a_damaged_receipt_is_bad_evidence(shell, receipts, tmp_path, proven_vkey):
    """Exit code 1, whatever was done to it."""
    for name, text in damaged(receipts).items():
        file = tmp_path / name
        file.write_text(text)
        done = shell.run("verify", file, "--vkey", proven_vkey, "--json")
        assert (name, done.code) == (name, 1)
        assert done.json["error"]["message"]


OTHER_KINDS = {
    "empty": b"",
    "a file of another kind": b"Dear auditor,",
    "JSON of another kind": b"{}",
    "a PDF": b"%PDF-1.7",
    "a .zip that is no bundle": b"PK\5\6" + bytes(18),
}


def test_a_file_of_another_kind_is_not_called_evidence(shell, tmp_path, proven_vkey):
    """Exit code 2 and what was expected: nobody tampered with a letter."""
    file = tmp_path / "file"
    for kind, content in OTHER_KINDS.items():
        file.write_bytes(content)
        done = shell.run("verify", file, "--vkey", proven_vkey)
        assert (done.code, done.out) == (2, "")
        assert f"{file} is {kind}" in done.err
        assert "expected a receipt" in done.err
    assert shell.run("report", file, "--out", tmp_path / "out.pdf").code == 2
    assert "a directory of another kind" in shell.run("verify", tmp_path, "--vkey", proven_vkey).err


def test_a_receipt_under_a_key_that_is_not_trusted_is_bad_evidence(shell, receipts, service):
    """A good signature by somebody else proves nothing to us."""
    assert (
        shell.run(
            "verify", receipts["document"], "--vkey", service.reader.ledger("_registry").vkey
        ).code
        == 1
    )


def test_missing_witnesses_are_bad_evidence_where_they_are_asked_for(shell, receipts, proven_vkey):
    """A quorum that is not reached is not a weaker yes."""
    done = shell.run("verify", receipts["document"], "--vkey", proven_vkey, "--quorum", "1")

    assert done.code == 1


def test_a_ledger_verifies_at_its_url(shell, ledger, vkey, service):
    """Three verdicts, what was not checked, and the signature on the checkpoint."""
    shell.good("post", ledger, "--key", "k", *CAPTURE, *AT)
    url = f"{shell.variables['EFFECT_LEDGER_URL']}/v1/ledgers/{ledger}"

    report = shell.good("verify", url, "--vkey", vkey)
    assert report["verified"] is True
    assert report["verdicts"] == {"tamper": "ok", "completeness": "ok", "time": "ok"}

    assert shell.run("verify", url, "--vkey", service.reader.ledger("_registry").vkey).code == 1


def test_a_service_that_vouches_for_itself_is_no_proof(shell, ledger):
    """Its report is told, and that nobody else stands behind it; the exit code is not 0."""
    shell.good("post", ledger, "--key", "k", *CAPTURE, *AT)
    url = f"{shell.variables['EFFECT_LEDGER_URL']}/v1/ledgers/{ledger}"

    blind = shell.run("verify", url, "--json")
    assert (blind.code, blind.json["verified"], blind.json["authenticated"]) == (2, False, False)
    assert blind.json["verdicts"] == {"tamper": "ok", "completeness": "ok", "time": "ok"}
    assert blind.json["level"] is None
    assert any("--vkey" in each for each in blind.json["not_checked"])
    assert "NOT AUTHENTICATED" in shell.run("verify", url).out


def test_a_log_at_its_url_is_read_and_hashed_here(shell, ledger, vkey):
    """The same verdicts, level and list of what was not checked, whatever the evidence."""
    shell.good("post", ledger, "--key", "k", *CAPTURE, *AT)
    url = f"{shell.variables['EFFECT_LEDGER_URL']}/v1/ledgers/{ledger}"

    found = shell.good("verify", f"{url}/log", "--vkey", vkey)

    assert (found["verified"], found["level"], found["size"]) == (True, "log-signed", 1)
    assert found["verdicts"].keys() == {"tamper", "completeness", "time"}
    assert shell.run("verify", f"{url}/log").code == 2


def test_a_checkpoint_that_was_kept_is_held_against_the_history(shell, ledger, vkey, tmp_path):
    """The history of today extends the one that was seen before."""
    shell.good("post", ledger, "--key", "k", *CAPTURE, *AT)
    url = f"{shell.variables['EFFECT_LEDGER_URL']}/v1/ledgers/{ledger}"
    headers = {"Authorization": f"Bearer {shell.variables['EFFECT_LEDGER_KEY']}"}
    kept = tmp_path / "checkpoint"
    kept.write_bytes(httpx.get(f"{url}/checkpoint", headers=headers).content)
    shell.good("post", ledger, "--key", "k2", *CAPTURE, *AT)

    kept_and_key = ("--vkey", vkey, "--checkpoint", kept)
    assert shell.good("verify", url, *kept_and_key)["verified"] is True
    assert shell.good("verify", f"{url}/log", *kept_and_key)["extends"] == 1


# ---- Serve ----------------------------------------------------------------------------


@pytest.fixture
def another(base) -> Shell:
    """A shell with a data directory of its own, where nothing runs."""
    return Shell(data_dir=base / f"data-{uuid.uuid4().hex[:8]}")


@pytest.mark.parametrize(
    "how", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_serve_stops_in_order_on_a_signal(another, how):
    """Exit code 0, and the database is down: the next command starts it by itself."""
    with another.serving() as (service, announced):
        assert httpx.get(f"{announced['url']}/readyz", timeout=TIMEOUT_S).status_code == 200
        service.send_signal(how)
        assert service.wait(TIMEOUT_S) == 0

    assert attach(another.data_dir) is None
    assert another.good("ledger", "list")["ledgers"][0]["ledger"] == "_registry"


@pytest.mark.slow
def test_what_was_answered_is_there_after_a_restart(another):
    """Also after the process was killed, and its database outlived it."""
    with another.serving() as (service, announced):
        made = another.good("key", "create", "--name", "x", "--scope", "*")
        client = another.set(URL=announced["url"], KEY=made["key"])
        another.good("ledger", "create", "shop")
        posted = client.good("post", "shop", "--key", "k", *CAPTURE, *AT)
        service.kill()
        service.wait()

    with another.serving() as (_, announced):
        client = client.set(URL=announced["url"])
        again = client.good("post", "shop", "--key", "k", *CAPTURE, *AT)

    assert (again["id"], again["replayed"]) == (posted["id"], True)


def test_a_port_that_is_taken_is_told_before_anything_starts(shell, another):
    """One line that names the way out."""
    port = shell.variables["EFFECT_LEDGER_URL"].rpartition(":")[2]

    done = another.run("serve", "--port", port)

    assert done.code == 2
    assert "--port" in done.err
    assert not another.data_dir.exists()


def test_a_second_service_on_one_data_directory_shares_the_database(shell):
    """It attaches: two services, one history."""
    with shell.serving() as (_, announced):
        assert httpx.get(f"{announced['url']}/readyz", timeout=TIMEOUT_S).status_code == 200


def test_a_database_of_yours_with_an_old_schema_is_refused(shell, base):
    """Migrating is the owner's business: the service says which command does it."""
    running = attach(base / "data")
    assert running is not None
    parts = running.conninfo("postgres")
    socket_dir = parts.partition("host=")[2].split()[0].strip("'")
    url = f"postgresql://postgres@/template1?host={socket_dir}&port=5432"

    done = shell.set(DATABASE_URL=url).run("serve", "--port", str(free_port()))

    assert done.code == 2
    assert done.err.splitlines()[-1].startswith("effect-ledger: the database has schema version")
    assert "effect-ledger migrate" in done.err


@pytest.mark.slow
def test_workers_share_the_ledger_and_are_started_again(another):
    """One that is killed comes back, and all end with the one that looks after them."""
    with another.set(WORKERS="2").serving() as (service, announced):
        made = another.good("key", "create", "--name", "x", "--scope", "*")
        another.good("ledger", "create", "shop")
        client = another.set(URL=announced["url"], KEY=made["key"])
        victim = workers_of(service.pid)[0]
        os.kill(victim, signal.SIGKILL)
        for at in range(5):
            client.good("post", "shop", "--key", f"k-{at}", *CAPTURE, *AT)
        assert await_that(lambda: len(set(workers_of(service.pid)) - {victim}) == 2)
        rest = workers_of(service.pid)
        service.send_signal(signal.SIGTERM)
        assert service.wait(TIMEOUT_S) == 0

    assert not [pid for pid in rest if Path(f"/proc/{pid}").exists()]


@pytest.mark.slow
def test_workers_do_not_outlive_the_process_that_looks_after_them(another):
    """However it ended: nobody else would stop them."""
    with another.set(WORKERS="2").serving() as (service, announced):
        assert httpx.get(f"{announced['url']}/healthz", timeout=TIMEOUT_S).status_code == 200
        left = workers_of(service.pid)
        service.kill()
        service.wait()
        assert await_that(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))

    # Ends the database that was left, as the next start does.
    another.good("ledger", "list")


def workers_of(pid: int) -> list[int]:
    """Living worker processes of a service."""
    found = subprocess.run(
        ["pgrep", "--parent", str(pid), "--full", "spawn_main"],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    return [int(line) for line in found.stdout.split()]


def await_that(holds: Any) -> bool:
    """Whether something comes true while a person would still wait."""
    ends_at = time.monotonic() + TIMEOUT_S
    while time.monotonic() < ends_at:
        if holds():
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
def test_a_posters_key_is_enrolled_once(shell, tmp_path):
    """As digits or as a PEM file it is the same key; what is no key is refused."""
    key = Ed25519PrivateKey.generate().public_key()
    pem = tmp_path / "key.pem"
    pem.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    made = shell.good("key", "enrol", key.public_bytes_raw().hex(), "--name", "signer")

    assert (made["principal"], made["public_key"]) == ("signer", key.public_bytes_raw().hex())
    assert shell.good("key", "enrol", pem, "--name", "signer") == made
    retired = shell.good("key", "retire", made["key_id"])
    assert (retired["key_id"], retired["principal"]) == (made["key_id"], "signer")
    assert shell.good("key", "retire", made["key_id"]) == retired
    assert shell.run("key", "enrol", pem, "--name", "signer").code == 2
    assert shell.run("key", "retire", "00000000").code == 2
    for wrong in ("nonsense", "ab" * 31, tmp_path):
        assert shell.run("key", "enrol", wrong, "--name", "signer").code == 2
