"""
Remote: speaks to a running service over HTTP, as the client commands do.

Where it is and with which key comes from EFFECT_LEDGER_URL and EFFECT_LEDGER_KEY. What an answer
means, and whether the same is sent again, is for `ledger.client`. Writes may be sent again after
any failure: each has a key, or is of a kind that makes no difference the second time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import orjson

from ledger.client import BudgetSpent, NotSent, Refused, Retry, Unreachable
from ledger.client.budget import PROCESS_BUDGET
from ledger.client.exchange import Patience, exchange
from ledger.client.judgement import Answer, judge
from ledger.client.requests import JSON, LEDGERS, NDJSON, Request, check_key
from ledger.client.transport import Transport, read_answer
from ledger.errors import SettingsError
from ledger.settings import CLIENT_URL

URL_VARIABLE = "EFFECT_LEDGER_URL"
KEY_VARIABLE = "EFFECT_LEDGER_KEY"
DEFAULT_URL = CLIENT_URL

# Longer than the longest poll, and than a batch waits for its turn.
ANSWER_TIMEOUT_S = 90.0
# How long a command goes on asking a service that is busy or about to start.
PATIENCE_S = 15.0
PAUSE_MIN_S = 0.5
PAUSE_MAX_S = 10.0
# Time ends them before.
TRIES_MAX = 1_000_000

T = TypeVar("T")


class Remote:
    """One service, spoken to with one key, or as a stranger."""

    def __init__(self, url: str, key: str | None) -> None:
        """
        Speak to the service at `url`; nothing is sent yet.

        Args:
            url: Where it is.
            key: API key; without one, only what is open to strangers is.

        Raises:
            SettingsError: The URL is none, or the key cannot stand in a header.
        """
        try:
            self._transport = Transport(url, key)
        except NotSent as error:
            variable = URL_VARIABLE if error.reason == "request.url" else KEY_VARIABLE
            raise SettingsError(f"{variable}: {error.message}") from error
        self.url = url.rstrip("/")
        self.is_stranger = key is None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._transport.close()

    def get(
        self, path: str, query: Mapping[str, str] | None = None, *, patience_s: float = 0.0
    ) -> Any:
        """
        The JSON answer to a GET.

        Args:
            path: Under the service's URL.
            query: Parameters.
            patience_s: As for `send`.

        Raises:
            ClientError: As `send`.
        """
        request = Request(method="GET", path=path, query=query or {})
        return self._ask(request, Answer.json, patience_s)

    def post(
        self,
        path: str,
        body: Any,
        *,
        key: str | None = None,
        query: Mapping[str, str] | None = None,
        patience_s: float = 0.0,
    ) -> Any:
        """
        The JSON answer to a POST of JSON.

        Args:
            path: Under the service's URL.
            body: JSON value, or NDJSON as bytes.
            key: Idempotency key, where the path takes one.
            query: Parameters.
            patience_s: As for `send`.

        Raises:
            SettingsError: The key cannot stand in a header.
            ClientError: As `send`.
        """
        is_lines = isinstance(body, bytes)
        headers = {"Content-Type": NDJSON if is_lines else JSON}
        if key is not None:
            try:
                headers["Idempotency-Key"] = check_key(key)
            except NotSent as error:
                raise SettingsError(f"--key: {error.message}") from error
        request = _post(path, query, headers, body if is_lines else orjson.dumps(body))
        return self._ask(request, Answer.json, patience_s)

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        patience_s: float = 0.0,
        final: frozenset[str] = frozenset(),
    ) -> bytes:
        """
        The body of a good answer.

        Args:
            method: GET or POST.
            path: Under the service's URL.
            query: Parameters.
            headers: Beside the key.
            content: Body of the request.
            patience_s: How long to go on sending what may succeed later.
            final: Codes of refusals that are not waited out.

        Raises:
            Refused: The service refused.
            Unreachable: No service answers, or what answers is none. Nothing was recorded.
            OutcomeUnknown: A write was sent, and nothing says what became of it.
        """
        request = (
            Request(method="GET", path=path, query=query or {}, headers=headers or {})
            if method == "GET"
            else _post(path, query, headers or {}, content)
        )
        return self._ask(request, lambda answer: answer.content, patience_s, final)

    def download(
        self,
        path: str,
        target: Path,
        *,
        size: int,
        etag: str,
        tell: Callable[[int, int], None],
        patience_s: float,
    ) -> None:
        """
        Fetch a file, going on where it broke off; what `target` has already is not fetched again.

        Args:
            path: Under the service's URL.
            target: Where it is kept, also what there is of it so far.
            size: Bytes it has.
            etag: Names the very bytes; others are fetched from the start.
            tell: Told how many bytes there are, of how many.
            patience_s: How long to go on asking a service that answers nothing.

        Raises:
            Refused: The service refused.
            Unreachable: No service answers.
        """
        gives_up_at = time.monotonic() + patience_s
        while (have := target.stat().st_size if target.exists() else 0) < size:
            try:
                self._download_once(path, target, have, size=size, etag=etag, tell=tell)
                gives_up_at = time.monotonic() + patience_s
            except httpx.HTTPError as error:
                if time.monotonic() > gives_up_at:
                    raise Unreachable(
                        self.url,
                        f"the download broke off at {have} of {size} bytes; the same command "
                        "goes on from there",
                    ) from error
                time.sleep(PAUSE_MIN_S)

    def _download_once(
        self,
        path: str,
        target: Path,
        have: int,
        *,
        size: int,
        etag: str,
        tell: Callable[[int, int], None],
    ) -> None:
        headers = {"Range": f"bytes={have}-", "If-Range": etag} if have else {}
        request = Request(method="GET", path=path, headers=headers)
        with self._transport.opened(request, ANSWER_TIMEOUT_S) as response:
            if not response.is_success:
                found = judge(request, read_answer(response, response.read()), Answer.json)
                if found.problem:
                    raise Refused(found.problem, found.status)
                raise Unreachable(self.url, found.why)
            goes_on = response.status_code == httpx.codes.PARTIAL_CONTENT
            with target.open("ab" if goes_on else "wb") as file:
                for chunk in response.iter_bytes():
                    file.write(chunk)
                    tell(file.tell(), size)

    def _ask(
        self,
        request: Request,
        read: Callable[[Answer], T],
        patience_s: float,
        final: frozenset[str] = frozenset(),
    ) -> T:
        patience = Patience(
            url=self.url,
            retry=Retry(
                tries=TRIES_MAX if patience_s else 1,
                base_s=PAUSE_MIN_S,
                cap_s=PAUSE_MAX_S,
                total_s=patience_s,
                attempt_s=ANSWER_TIMEOUT_S,
            ),
            budget=PROCESS_BUDGET,
            final=final,
        )
        try:
            return self._transport.perform(exchange(request, read, patience))
        except BudgetSpent as error:
            # What a person can act on is what the service said last.
            raise error.last from error
        except Unreachable as error:
            raise Unreachable(
                self.url,
                f"{error.why}; start one with `effect-ledger serve`, or set {URL_VARIABLE}",
            ) from error


def open_remote(url: str | None = None, *, as_stranger: bool = False) -> Remote:
    """
    The service at `url`, by default the one that the environment names, with its key.

    Args:
        url: Where it is.
        as_stranger: Whether to do without a key where the environment has none.

    Raises:
        SettingsError: A variable is missing or wrong.
    """
    key = os.environ.get(KEY_VARIABLE) or None
    if key is None and not as_stranger:
        raise SettingsError(
            f"set {KEY_VARIABLE} to an API key; make one with "
            "`effect-ledger key create --name NAME --scope SCOPE`"
        )
    return Remote(url or os.environ.get(URL_VARIABLE) or DEFAULT_URL, key)


def key_for(url: str) -> str | None:
    """The key of the environment, for the log of a ledger; to anybody else it is not shown."""
    return (os.environ.get(KEY_VARIABLE) or None) if LEDGERS in url else None


def _post(
    path: str,
    query: Mapping[str, str] | None,
    headers: Mapping[str, str],
    content: bytes | None,
) -> Request:
    asked = query or {}
    return Request(
        method="POST",
        path=path,
        query=asked,
        headers=headers,
        content=content,
        key=headers.get("Idempotency-Key"),
        writes=asked.get("dry_run") != "true",
    )
