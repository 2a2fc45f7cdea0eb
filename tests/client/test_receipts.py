"""Laws of stores: what was kept is there in the next life, and nothing worse replaces it."""

from __future__ import annotations

import json
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.client import (
    Client,
    DirectoryReceipts,
    MemoryReceipts,
    NotSent,
    ReceiptInvalid,
    ReceiptNotKept,
    ReceiptStore,
    SqliteReceipts,
)
from ledger.note import NoteKey
from tests.client.fake import EFFECT, KEY, LEDGER, VKEY, answers, fake_service, records
from tests.client.test_answers import HTTP, QUICK, ample

PLACE = "http://ledger.example/v1/ledgers/shop"
ID = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture(params=["memory", "directory", "sqlite"])
def open_store(request, tmp_path):
    """Opens the same store again and again; one in memory has no second life."""
    kept = MemoryReceipts()
    opened = {
        "memory": lambda: kept,
        "directory": lambda: DirectoryReceipts(tmp_path / "receipts"),
        "sqlite": lambda: SqliteReceipts(tmp_path / "receipts.db"),
    }[request.param]
    assert isinstance(opened(), ReceiptStore)
    return opened


def document(level, **members):
    return {"id": ID, "seq": 0, "receipt": {"level": level}} | members


def test_what_was_kept_is_there_in_the_next_life(open_store):
    open_store().keep(PLACE, document("log-signed"))
    open_store().pin(PLACE, [VKEY, "other"])

    assert open_store().get(PLACE, ID) == document("log-signed")
    assert open_store().pinned(PLACE) == (VKEY, "other")
    assert open_store().get(PLACE + "2", ID) is None
    assert open_store().pinned(PLACE + "2") == ()


def test_a_receipt_is_replaced_by_one_that_proves_more_and_by_no_other(open_store):
    store = open_store()
    for level, kept in [
        ("unsigned", "unsigned"),
        ("cosigned", "cosigned"),
        ("log-signed", "cosigned"),
        ("timestamped", "timestamped"),
    ]:
        store.keep(PLACE, document(level))
        assert store.get(PLACE, ID)["receipt"]["level"] == kept
    store.keep(PLACE, document("timestamped", seq=1))
    assert store.get(PLACE, ID)["seq"] == 0


def test_threads_share_a_store(open_store):
    store = open_store()

    def keep(number):
        for level in ("log-signed", "unsigned", "cosigned"):
            store.keep(PLACE, document(level, id=f"{number:08x}{ID[8:]}"))

    threads = [threading.Thread(target=keep, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    kept = [store.get(PLACE, f"{number:08x}{ID[8:]}") for number in range(8)]
    assert {each["receipt"]["level"] for each in kept} == {"cosigned"}


def test_instances_share_a_place(open_store):
    """Of one process or of many: each is whole, the best one stays, and nothing is left beside."""
    errors = []

    def keep(_number):
        try:
            store = open_store()
            for level in ("log-signed", "cosigned", "log-signed") * 3:
                store.keep(PLACE, document(level))
                store.pin(PLACE, [VKEY])
        except Exception as error:  # noqa: BLE001 - a thread has nobody to raise it to.
            errors.append(error)

    threads = [threading.Thread(target=keep, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert open_store().get(PLACE, ID) == document("cosigned")
    assert open_store().pinned(PLACE) == (VKEY,)


def test_a_write_that_fails_leaves_what_was_kept_and_nothing_beside_it(tmp_path, monkeypatch):
    store = DirectoryReceipts(tmp_path)
    store.keep(PLACE, document("log-signed"))
    with monkeypatch.context() as full:
        full.setattr("os.fsync", no_space)
        with pytest.raises(OSError, match="No space"):
            store.keep(PLACE, document("cosigned"))
    [file] = tmp_path.rglob("*.json")

    assert store.get(PLACE, ID) == document("log-signed")
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def no_space(_descriptor):
    raise OSError(28, "No space left on device")


def test_a_kept_file_is_what_was_answered_and_its_owners_alone(tmp_path):
    store = DirectoryReceipts(tmp_path)
    store.keep(PLACE, document("log-signed"))
    [file] = tmp_path.rglob("*.json")

    assert json.loads(file.read_text()) == document("log-signed")
    assert file.stat().st_mode & 0o077 == 0
    assert [each.name for each in file.parent.iterdir()] == [file.name]


# ---- Who is believed ------------------------------------------------------------------


def keys(*lines):
    return answers(200, {"keys": list(lines)})


def effect(url, **trust):
    with Client(
        url, key="k", ledger=LEDGER, http=HTTP, retry=QUICK, budget=ample(), **trust
    ) as client:
        return client.effect(key="k-1", **EFFECT)


OTHER = NoteKey(name=KEY.name, private_key=Ed25519PrivateKey.from_private_bytes(b"M" * 32))
OTHER_VKEY = OTHER.verifier.encode()


def test_keys_are_learned_once_and_believed_from_then_on(open_store):
    """A ledger that signs with another key later is not believed, whatever it says of itself."""
    with fake_service(keys(VKEY), records) as service:
        assert effect(service.url, receipts=open_store()).trusted_by == "learned"
        assert effect(service.url, receipts=open_store()).trusted_by == "pinned"
        place = f"{service.url}/v1/ledgers/{LEDGER}"
        assert open_store().get(place, ID)["id"] == ID
        open_store().pin(place, [OTHER_VKEY])
        with pytest.raises(ReceiptInvalid) as raised:
            effect(service.url, receipts=open_store())
    assert raised.value.reason == "evidence.signature"
    assert [seen.line.split()[0] for seen in service.seen] == ["GET", "POST", "POST", "POST"]


def test_what_the_caller_says_goes_before_what_was_learned(open_store):
    with fake_service(records) as service:
        open_store().pin(f"{service.url}/v1/ledgers/{LEDGER}", [OTHER_VKEY])
        assert effect(service.url, receipts=open_store(), vkey=VKEY).trusted_by == "given"
        with pytest.raises(ReceiptInvalid):
            effect(service.url, vkey=OTHER_VKEY)
    # Nobody was asked for keys.
    assert {seen.line.split()[0] for seen in service.seen} == {"POST"}


@pytest.mark.parametrize("answer", [{}, {"keys": []}, {"keys": ["x"]}, {"keys": 7}, {"keys": [7]}])
def test_to_a_ledger_that_says_no_keys_nothing_is_sent(answer):
    with fake_service(answers(200, answer)) as service, pytest.raises(NotSent):
        effect(service.url)

    assert len(service.seen) == 1


class FullDisk(MemoryReceipts):
    def keep(self, place, document):  # noqa: ARG002 - the protocol's.
        raise OSError(28, "No space left on device")


def test_a_store_that_fails_hides_neither_entry_nor_proof():
    with fake_service(records) as service, pytest.raises(ReceiptNotKept) as raised:
        effect(service.url, receipts=FullDisk(), vkey=VKEY)

    assert raised.value.recorded.verified.seq == 0
    assert "No space" in str(raised.value)
