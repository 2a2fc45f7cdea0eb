"""Each published limit holds exactly, is named when passed, and never half-writes."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from api.body import BATCH_BYTES_MAX, EFFECT_BODY_BYTES_MAX
from tests.api.support import Api, capture, item, refund

MIB = 1_048_576


def nothing_recorded(api: Api) -> bool:
    return bool(api.get("").json()["size"] == 0)


@pytest.mark.parametrize(
    ("member", "limit"),
    [("subject", 255), ("business_key", 255)],
)
def test_text_limit(api: Api, member: str, limit: int) -> None:
    """At the limit it is taken; one character more is told the limit."""
    over = api.post("/effects", capture() | {member: "x" * (limit + 1)}, key="k1")
    assert (over.status_code, over.json()["details"]["limit"]) == (413, limit)
    assert nothing_recorded(api)

    at = api.post("/effects", capture() | {member: "x" * limit}, key="k1")
    assert at.status_code == 201


def test_reason_limit(api: Api) -> None:
    """63 characters."""
    effect = api.post("/effects", capture(), key="k1").json()["id"]
    path = f"/effects/{effect}/refunds"

    over = api.post(path, refund("1.00", reason="r" * 64), key="k2")
    assert (over.status_code, over.json()["details"]["limit"]) == (413, 63)
    assert api.post(path, refund("1.00", reason="r" * 63), key="k2").status_code == 201


def test_key_limit(api: Api) -> None:
    """255 characters."""
    over = api.post("/effects", capture(), key="k" * 256)
    assert (over.status_code, over.json()["details"]["limit"]) == (413, 255)
    assert nothing_recorded(api)
    assert api.post("/effects", capture(), key="k" * 255).status_code == 201


@pytest.mark.parametrize(
    ("member", "make", "limit"),
    [
        ("evidence", lambda i: {"system": "s", "rel": "result", "ref": f"r{i}"}, 16),
        ("causes", lambda i: {"kind": "trace", "ref": f"t{i}"}, 32),
        ("payloads", lambda i: {"name": f"p{i}", "text": "words"}, 8),
    ],
)
def test_list_limit(api: Api, member: str, make, limit: int) -> None:
    """So many items, and not one more."""
    over = api.post("/effects", capture() | {member: [make(i) for i in range(limit + 1)]}, key="k")
    assert (over.status_code, over.json()["details"]["limit"]) == (413, limit)
    assert nothing_recorded(api)
    at = api.post("/effects", capture() | {member: [make(i) for i in range(limit)]}, key="k")
    assert at.status_code == 201


def test_label_limits(api: Api) -> None:
    """16 labels; values of 255."""
    over = api.post("/effects", capture(labels={f"l{i}": "v" for i in range(17)}), key="k1")
    assert (over.status_code, over.json()["details"]["limit"]) == (413, 16)
    long = api.post("/effects", capture(labels={"l": "v" * 256}), key="k1")
    assert (long.status_code, long.json()["details"]["limit"]) == (413, 255)
    at = api.post("/effects", capture(labels={f"l{i}": "v" * 255 for i in range(16)}), key="k1")
    assert at.status_code == 201


def test_effect_bytes_limit(api: Api) -> None:
    """32,768 bytes of canonical effect, with every list within its own limit."""
    wide = capture(
        evidence=[{"system": "s" * 20, "rel": "transaction", "ref": "é" * 255} for _ in range(16)],
        causes=[{"kind": "workflow", "ref": "é" * 255} for _ in range(32)],
        labels={f"l{i}": "é" * 255 for i in range(16)},
    )

    over = api.post("/effects", wide, key="k1")

    assert (over.status_code, over.json()["details"]["limit"]) == (413, 32_768)
    assert nothing_recorded(api)


@pytest.mark.parametrize("form", ["text", "base64", "json"])
def test_payload_limit(api: Api, form: str) -> None:
    """1 MiB of octets, however they are sent."""

    def payload(size: int) -> dict[str, object]:
        content = {
            "text": "x" * size,
            "base64": base64.b64encode(b"x" * size).decode(),
            "json": "x" * (size - 2),
        }
        return capture(payloads=[{"name": "p", form: content[form]}])

    over = api.post("/effects", payload(MIB + 1), key="k1")
    assert (over.status_code, over.json()["details"]["limit"]) == (413, MIB)
    assert nothing_recorded(api)
    assert api.post("/effects", payload(MIB), key="k1").status_code == 201


def test_eight_full_payloads_fit_into_one_request(api: Api) -> None:
    """The limit of a body leaves room for what the other limits allow."""
    content = base64.b64encode(b"x" * MIB).decode()
    full = capture(payloads=[{"name": f"p{i}", "base64": content} for i in range(8)])

    assert len(orjson.dumps(full)) < EFFECT_BODY_BYTES_MAX
    assert api.post("/effects", full, key="k1").status_code == 201


@pytest.mark.parametrize(
    ("path", "limit"), [("/effects", EFFECT_BODY_BYTES_MAX), ("/batch", BATCH_BYTES_MAX)]
)
@pytest.mark.parametrize("chunked", [False, True])
def test_body_limit(api: Api, path: str, limit: int, *, chunked: bool) -> None:
    """Announced or not, what is over the limit is not read to its end."""

    def chunks():
        for _ in range(limit // 65_536 + 2):
            yield b" " * 65_536

    headers = [*api.headers("k1"), (b"Content-Type", b"application/json")]
    content = chunks() if chunked else b" " * (limit + 1)
    response = api.http.post(api.url(path), content=content, headers=headers)

    assert (response.status_code, response.json()["code"]) == (413, "TOO_LARGE")
    assert response.json()["details"]["limit"] == limit


def test_body_at_its_limit_is_read(api: Api) -> None:
    """White space counts like every other byte, and no more."""
    raw = orjson.dumps({"mode": "atomic", "items": [item("k1")]})

    response = api.send("/batch", raw + b" " * (BATCH_BYTES_MAX - len(raw)))

    assert response.status_code == 200


def test_batch_items_limit(api: Api) -> None:
    """1,000 items, and not one more."""
    items = [item(f"k{i}") for i in range(1_001)]

    over = api.post("/batch", {"mode": "independent", "items": items})
    assert (over.status_code, over.json()["details"]["limit"]) == (413, 1_000)
    assert nothing_recorded(api)
    at = api.post("/batch", {"mode": "independent", "items": items[:1_000]})
    assert (at.status_code, at.json()["recorded"]) == (200, 1_000)


def test_page_limit(api: Api) -> None:
    """1,000 entries per page."""
    assert api.get("/entries", limit=1_000).status_code == 200
    over = api.get("/entries", limit=1_001)
    assert (over.status_code, over.json()["code"]) == (422, "INVALID_PARAMETER")
    assert "1000" in over.json()["detail"]


def test_future_limit(api: Api) -> None:
    """Five minutes ahead, for clocks that are not quite right."""
    now = datetime.now(UTC)

    over = api.post(
        "/effects", capture(occurred_at=(now + timedelta(minutes=6)).isoformat()), key="k1"
    )
    assert (over.status_code, over.json()["details"]["pointer"]) == (422, "/occurred_at")
    assert "5 minutes" in over.json()["detail"]
    at = api.post(
        "/effects", capture(occurred_at=(now + timedelta(minutes=4)).isoformat()), key="k1"
    )
    assert at.status_code == 201
