"""The log as C2SP tlog-tiles has it: other people's programs read it and know nothing of us."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from api.routes.proofs import takes_gzip
from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.merkle import EMPTY_ROOT, leaf_hash, root_of
from ledger.note import VerifierKey
from ledger.tiles import entry_bundle, parse_entry_bundle, partial_width, tile_path
from tests.api.support import Api, item

SIZE = 600
"""Two full tiles, and one that is partial."""
LEDGERS = itertools.count()
KEPT = "max-age=604800, immutable"
TILES = ["tile/0/000", "tile/0/001.p/3", "tile/0/002.p/88", "tile/1/000.p/1", "tile/1/000.p/2"]
BUNDLES = ["tile/entries/001", "tile/entries/000.p/17", "tile/entries/002.p/88"]
NOT_THERE = [
    "",
    "/",
    "checkpoint/",
    "checkpoint.p/1",
    "Checkpoint",
    "checkpoint\n",
    "checkpoint\0",
    "tile",
    "tile/",
    "tile//",
    "tile/0",
    "tile/0/",
    "tile/0/000/",
    "tile/0/000\n",
    "\ntile/0/000",
    "tile/0/0",
    "tile/0/0000",
    "tile/0/256",
    "tile/0/x000/000",
    "tile/0/000.p/0",
    "tile/0/000.p/256",
    "tile/0/000.p/257",
    "tile/0/000.p/01",
    "tile/0/000.p/",
    "tile/0/000.p",
    "tile/0/000.p/-1",
    "tile/0/000.p/1/",
    "tile/0/\N{ARABIC-INDIC DIGIT ZERO}00",
    "tile/00/000",
    "tile/-1/000",
    "tile/+1/000",
    "tile/8/0/000",
    "tile/64/000",
    "tile/999999999999999999999/000",
    "tile/63/000",
    "tile/0/x999/x999/x999/x999/x999/x999/999",
    "tile/0/002",
    "tile/0/002.p/89",
    "tile/0/003.p/1",
    "tile/1/000",
    "tile/1/000.p/3",
    "tile/2/000.p/1",
    "tile/data/000",
    "tile/entries",
    "tile/entries/",
    "tile/entries/0",
    "tile/entries/002",
    "tile/entries/002.p/89",
    "tile/entries/x001/000",
    "tile/entries/000?",
    "tile/0/../0/000",
    "../checkpoint",
    "./checkpoint",
    "%63heckpoint",
    "entries/000",
    "tiles/0/000",
    "robots.txt",
    "\N{SNOWMAN}",
    "x" * 5_000,
]


@pytest.fixture(scope="module")
def shop(engine, http, _key) -> Api:
    """A private ledger of 600 entries."""
    return filled(Api(http=http, ledger=new_ledger(engine), token=_key, make_key=str))


@pytest.fixture(scope="module")
def plaza(engine, http, _key) -> Api:
    """A public ledger of 600 entries, spoken to by a stranger."""
    ledger = new_ledger(engine, public=True)
    return filled(Api(http=http, ledger=ledger, token=_key, make_key=str)).without_key()


def new_ledger(engine, **properties: bool) -> str:
    return str(engine.registry.create_ledger(f"tiles-{next(LEDGERS)}", **properties).name)


def filled(api: Api) -> Api:
    batch = {"mode": "atomic", "items": [item(f"k{seq}") for seq in range(SIZE)]}
    assert api.post("/batch", batch).status_code == 200
    return api


@pytest.fixture(scope="module")
def entries(shop: Api, engine) -> list[bytes]:
    """What is recorded in the private ledger, as it was hashed."""
    pages = (engine.reader.entries_after(shop.ledger, after, 256) for after in (-1, 255, 511))
    return [entry.encoded for page in pages for entry in page][:SIZE]


def read(api: Api, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    """What stands below `/log/`, asked for with every character as it is."""
    return api.http.request(
        method, api.url(f"/log/{quote(path, safe='/')}"), headers=api.headers(None, headers)
    )


def octets(
    api: Api, path: str, accept: str | None, method: str = "GET"
) -> tuple[httpx.Headers, bytes]:
    """Headers and body as they travel: the client's own decompression is left out."""
    url = api.url(f"/log/{path}")
    headers = api.headers(None, {} if accept is None else {"Accept-Encoding": accept})
    request = api.http.build_request(method, url, headers=headers)
    if accept is None:
        del request.headers["Accept-Encoding"]
    with closing(api.http.send(request, stream=True)) as response:
        return response.headers, b"".join(response.iter_raw())


# ---- What is there --------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 513, SIZE])
def test_every_tile_of_every_size_is_served_at_its_exact_width(
    shop: Api, entries: list[bytes], size: int
) -> None:
    """Also a partial one whose full tile is there: who read an older checkpoint needs it."""
    leaves = [leaf_hash(entry) for entry in entries]
    for level, hashes in enumerate((leaves, roots(leaves))):
        for index in range(-(-(size >> (8 * level)) // 256)):
            width = partial_width(level, index, size)
            served = read(shop, tile_path(level, index, width))
            assert served.status_code == 200
            assert served.content == b"".join(hashes[index * 256 : index * 256 + width])
    for index in range(-(-size // 256)):
        width = partial_width("entries", index, size)
        bundle = read(shop, tile_path("entries", index, width)).content
        assert bundle == entry_bundle(entries[index * 256 : index * 256 + width])
        assert len(parse_entry_bundle(bundle)) == width


def roots(leaves: list[bytes]) -> list[bytes]:
    return [root_of(leaves[at : at + 256]) for at in range(0, len(leaves) - 255, 256)]


@pytest.mark.parametrize("path", TILES + BUNDLES)
def test_tile_is_octets_to_be_kept_for_a_week(shop: Api, plaza: Api, path: str) -> None:
    """Shared caches may keep those of a public log only."""
    for api, reach in ((shop, "private"), (plaza, "public")):
        served = read(api, path)
        assert served.headers["Content-Type"] == "application/octet-stream"
        assert served.headers["Cache-Control"] == f"{reach}, {KEPT}"


def test_checkpoint_is_text_that_is_never_kept(shop: Api, plaza: Api, engine) -> None:
    """A signed note of the newest tree."""
    for api in (shop, plaza):
        served = read(api, "checkpoint")
        assert served.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert served.headers["Cache-Control"] == "no-store"
        record = engine.reader.ledger(api.ledger)
        signed = open_checkpoint(served.content, [VerifierKey.parse(record.vkey)])
        assert (signed.origin, signed.size) == (record.origin, SIZE)


def test_empty_log_has_a_checkpoint_and_no_tile(api: Api, engine) -> None:
    """A client that begins before the first entry finds what it asks for."""
    record = engine.reader.ledger(api.ledger)
    note = read(api, "checkpoint").content

    signed = open_checkpoint(note, [VerifierKey.parse(record.vkey)])
    assert signed == Checkpoint(origin=record.origin, size=0, root=EMPTY_ROOT)
    for path in ("tile/0/000.p/1", "tile/0/000", "tile/entries/000.p/1", "tile/63/000.p/1"):
        assert read(api, path).status_code == 404


# ---- Compression ----------------------------------------------------------------------

ACCEPTED = {
    "gzip": True,
    "GZIP": True,
    "gzip, deflate, br, zstd": True,
    "br;q=1.0, gzip;q=0.8, *;q=0.1": True,
    "gzip;q=0.001": True,
    "gzip ; q=1.000": True,
    "*": True,
    "deflate, *;q=0.5": True,
    "gzip;q=0": False,
    "gzip;q=0.000": False,
    "*, gzip;q=0": False,
    "*;q=0": False,
    "identity": False,
    "br, deflate": False,
    "xgzip": False,
    "gzip;q=2": False,
    "gzip;level=9": False,
    "": False,
}


@pytest.mark.parametrize(("accept", "compressed"), ACCEPTED.items())
def test_bundle_is_compressed_where_gzip_is_accepted(
    shop: Api, accept: str, compressed: bool
) -> None:
    """What is in it is the same, and both forms tell caches what they depend on."""
    _, plain = octets(shop, "tile/entries/000", "identity")
    headers, body = octets(shop, "tile/entries/000", accept)

    assert headers["Vary"] == "Accept-Encoding"
    assert headers.get("Content-Encoding") == ("gzip" if compressed else None)
    assert (gzip.decompress(body) if compressed else body) == plain
    assert (len(body) < len(plain) / 2) == compressed


def test_bundle_is_plain_where_nothing_is_asked(shop: Api) -> None:
    """The oldest of clients reads it."""
    headers, body = octets(shop, "tile/entries/001", None)

    assert "Content-Encoding" not in headers
    assert headers["Vary"] == "Accept-Encoding"
    assert len(parse_entry_bundle(body)) == 256


def test_compressed_bundle_is_the_same_octets_each_time(shop: Api) -> None:
    """A cache that compares finds nothing new."""
    assert octets(shop, "tile/entries/000", "gzip") == octets(shop, "tile/entries/000", "gzip")


@pytest.mark.parametrize("path", ["checkpoint", *TILES])
def test_hashes_are_never_compressed(shop: Api, path: str) -> None:
    """There is nothing to gain, and so nothing to vary by."""
    headers, _ = octets(shop, path, "gzip")

    assert "Content-Encoding" not in headers
    assert "Vary" not in headers


@given(st.lists(st.text(max_size=30), max_size=3))
@example(["gzip", "gzip;q=0"])
@example([";;;", ",,,", "q=1"])
def test_whatever_is_accepted_is_understood(accepted: list[str]) -> None:
    """Never an error; and never gzip for those who do not write of it, or of everything."""
    taken = takes_gzip(accepted)

    assert isinstance(taken, bool)
    if taken:
        assert any("gzip" in each.lower() or "*" in each for each in accepted)


# ---- HEAD -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["checkpoint", *TILES, *BUNDLES, "tile/0/099", "nowhere"])
@pytest.mark.parametrize("accept", ["identity", "gzip"])
def test_head_is_get_without_its_body(shop: Api, path: str, accept: str) -> None:
    """The same status and the same headers; a cache asks before it reads."""
    got, body = octets(shop, path, accept)
    told, nothing = octets(shop, path, accept, "HEAD")

    assert nothing == b""
    assert told["Content-Length"] == str(len(body)) or "problem" in told["Content-Type"]
    moving = {"date", "content-length"}
    assert {k: v for k, v in told.items() if k not in moving} == {
        k: v for k, v in got.items() if k not in moving
    }
    found, asked = read(shop, path), read(shop, path, "HEAD")
    assert asked.status_code == found.status_code


def test_head_is_asked_for_its_credential_too(shop: Api, plaza: Api) -> None:
    """What is not shown is not hinted at."""
    assert read(shop.without_key(), "checkpoint", "HEAD").status_code == 401
    assert read(plaza, "checkpoint", "HEAD").status_code == 200


# ---- What is not there ----------------------------------------------------------------


@pytest.mark.parametrize("path", NOT_THERE)
def test_what_is_not_there_is_exactly_not_found(shop: Api, plaza: Api, path: str) -> None:
    """Clients take 404 for "not yet", and anything else for the end."""
    for api in (shop, plaza):
        for method in ("GET", "HEAD"):
            served = verbatim(api, path, method)
            assert served.status == 404
            assert served.headers["Cache-Control"] == "no-store"


def verbatim(api: Api, path: str, method: str = "GET") -> HTTPResponse:
    """As `read`, where a better client would tidy up the path."""
    return verbatim_at(api, f"/v1/ledgers/{api.ledger}/log/{quote(path, safe='/')}", method)


def verbatim_at(api: Api, target: str, method: str = "GET") -> HTTPResponse:
    """The answer to a request for exactly `target`."""
    url = api.http.base_url
    with closing(HTTPConnection(url.host, url.port)) as connection:
        headers = {name.decode(): value.decode() for name, value in api.headers(None)}
        connection.request(method, target, headers=headers)
        response = connection.getresponse()
        response.read()
    return response


def near(path: str) -> st.SearchStrategy[str]:
    """Paths that differ from `path` in one place."""
    edits = st.tuples(st.integers(0, len(path)), st.integers(0, 1), st.text(max_size=2))
    return edits.map(lambda edit: path[: edit[0]] + edit[2] + path[edit[0] + edit[1] :])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40) | st.sampled_from(["checkpoint", *TILES, *BUNDLES]).flatmap(near))
@example("tile/0/000\n")
@example("checkpoint\n")
def test_a_path_is_the_one_of_a_tile_or_it_is_not_found(plaza: Api, path: str) -> None:
    """One spelling each: what is served under a path stands under no other."""
    served = verbatim(plaza, path.encode("utf-8", "replace").decode())

    assert served.status == (200 if path in there() else 404)


def there() -> Iterator[str]:
    """Every path of a log of 600 entries."""
    yield "checkpoint"
    for level in (0, "entries"):
        for index, width in itertools.product(range(3), range(1, 257)):
            if width <= partial_width(level, index, SIZE):
                yield tile_path(level, index, width)
    yield from (tile_path(1, 0, width) for width in (1, 2))


def test_the_framework_has_no_say_in_a_query(plaza: Api) -> None:
    """A parameter that nobody reads changes nothing: caches are sent away with such."""
    url = plaza.url("/log/tile/0/000?size=x&path=y")

    assert plaza.http.get(url).status_code == 200


# ---- Who may read ---------------------------------------------------------------------


@pytest.mark.parametrize("path", ["checkpoint", *TILES, *BUNDLES, *NOT_THERE])
def test_stranger_learns_nothing_of_a_private_log(shop: Api, path: str) -> None:
    """401 for what is there, for what is not, and for ledgers that do not exist."""
    for api in (shop.without_key(), shop.without_key().on("no-such-ledger")):
        refused = verbatim(api, path)
        assert refused.status == 401
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer nonsense", "Basic YTpi", "nonsense"]
)
def test_bad_credential_opens_no_private_log_and_closes_no_public_one(
    shop: Api, plaza: Api, authorization: str
) -> None:
    """Whoever has a key that expired may still read what everyone may."""
    for path in ("checkpoint", "tile/0/000", "tile/entries/000"):
        refused = read(shop.without_key(), path, Authorization=authorization)
        served = read(plaza, path, Authorization=authorization)
        assert (refused.status_code, served.status_code) == (401, 200)


def test_public_log_opens_nothing_but_the_log(plaza: Api) -> None:
    """Entries one by one, proofs and payloads go on asking for a key."""
    for path in ("", "/entries", "/entries/0", "/checkpoint", "/proofs/inclusion?seq=0&size=1"):
        assert plaza.get(path).status_code == 401


@pytest.mark.parametrize("name", ["%00", "%0A", "a%00b", "%F0%9F%8E%88", "x" * 300, "..", "%2E%2E"])
def test_ledger_nobody_can_have_is_not_found(shop: Api, name: str) -> None:
    """Whatever stands where its name should, and whatever is asked for below it."""
    for below in ("", "/log/checkpoint", "/entries", "/effects/x"):
        assert verbatim_at(shop, f"/v1/ledgers/{name}{below}").status == 404
