"""Laws of framing: a request that two readers would read differently is not taken."""

from __future__ import annotations

import pytest

from tests.api.support import Api, capture

TWICE = [
    ("Authorization", "Bearer nobody"),
    ("Content-Type", "text/plain"),
    ("Content-Encoding", "identity"),
]


@pytest.mark.parametrize(("name", "value"), TWICE)
@pytest.mark.parametrize("path", ["/effects", "/intents"])
def test_a_header_that_is_read_once_may_not_come_twice(
    api: Api, path: str, name: str, value: str
) -> None:
    """Whichever of the two a proxy believes, nobody here believes the other."""
    more = [(name, value), (name, value)]

    response = api.post(path, capture(), key="k", headers=more)

    assert (response.status_code, response.json()["code"]) == (400, "MALFORMED_REQUEST")
    assert name.lower() in response.json()["detail"]


@pytest.mark.parametrize("query", ["subject=%ff", "%c3%28=1", "subject=%ed%a0%80"])
@pytest.mark.parametrize("path", ["/entries", "/effects"])
def test_a_query_that_is_no_text_is_refused(api: Api, path: str, query: str) -> None:
    """Read as something else it would find nothing, and say that nothing is there."""
    response = (
        api.get(f"{path}?{query}")
        if path == "/entries"
        else api.post(f"{path}?{query}", capture(), key="k")
    )

    assert (response.status_code, response.json()["code"]) == (422, "INVALID_PARAMETER")


def test_head_is_answered_wherever_get_is(api: Api) -> None:
    """RFC 9110 Section 9.3.2: the same status and headers, and no content."""
    api.post("/effects", capture(), key="k").raise_for_status()
    stream = {"Accept": "text/event-stream"}
    asked = [
        *(
            path
            for path in api.http.get("/openapi.json", headers=api.headers(None)).json()["paths"]
            if "{" not in path.replace("{ledger}", "")
        ),
        "/v1/ledgers/{ledger}/entries/0",
        "/v1/ledgers/{ledger}/log/checkpoint",
        "/v1/ledgers/{ledger}/feed?wait=60&after=0",
    ]
    compared = 0
    for path in asked:
        url = path.replace("{ledger}", api.ledger)
        headers = api.headers(None, {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
        head = api.http.head(url, headers=headers)
        assert head.content == b"", path
        if "wait" in path:
            assert head.status_code == 200
            continue
        get = api.http.get(url, headers=headers)
        assert head.status_code == get.status_code, path
        assert head.headers["content-type"] == get.headers["content-type"]
        compared += get.status_code == 200
    assert compared > 8
    assert api.http.head(api.url("/feed"), headers=api.headers(None, stream)).status_code == 200
    allowed = api.http.post(api.url("/entries"), headers=api.headers(None)).headers["allow"]
    assert {each.strip() for each in allowed.split(",")} == {"GET", "HEAD"}
