"""
Remote: speaks to a running service over HTTP, as the client commands do.

Where it is and with which key comes from EFFECT_LEDGER_URL and EFFECT_LEDGER_KEY. Writes may be
sent again after any failure: their idempotency keys make that safe.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx
import orjson

from ledger.errors import LedgerError, OutcomeUnknownError, SettingsError
from ledger.forms.grammar import KEY, KEY_FORM
from ledger.forms.names import check_ledger_name

URL_VARIABLE = "EFFECT_LEDGER_URL"
KEY_VARIABLE = "EFFECT_LEDGER_KEY"
DEFAULT_URL = "http://127.0.0.1:8420"
LEDGERS = "/v1/ledgers/"

# Longer than the longest poll, and than a batch waits for its turn.
TIMEOUT = httpx.Timeout(90.0, connect=5.0)
# How long a command goes on asking a service that is busy or about to start.
PATIENCE_S = 15.0
PAUSE_MIN_S = 0.5
PAUSE_MAX_S = 10.0

WORLDS = {"RML1": "RML-1 closed", "RML2": "RML-2 dialog", "RML3": "RML-3 history"}
"""Worlds as people read them."""

_WAYS_OUT = {
    "retry-with-backoff": "send the same command again in a moment; its key makes that safe",
    "start-compensation": "undo it by a compensating effect",
    "escalate-history": "history stands; only a forward entry that fits it is taken",
    "fix-request": "correct the request and send it again",
    "reconcile-first": "look the key up (effect-ledger show --key) before anything else is done",
    "wait-for-human": "a person has to decide",
    "stop": "do not send it again",
}


class ProblemError(LedgerError):
    """The service refused the request, and its problem says what to do about it."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        world = WORLDS.get(str(problem.get("world")), "unknown world")
        detail = problem.get("detail") or problem.get("title") or "the service refused"
        way_out = _WAYS_OUT.get(str(problem.get("action")), _WAYS_OUT["stop"])
        super().__init__(
            f"{world}: {detail} ({problem.get('code', 'no code')}). Way out: {way_out}.", **problem
        )
        self.problem = problem

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.problem.get("retryable") is True


class UnreachableError(OutcomeUnknownError):
    """No answer came; whether a write was recorded is not known, and the same key tells."""


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
        if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
            raise SettingsError(f"{URL_VARIABLE} must be a URL such as {DEFAULT_URL}")
        if key is not None and not KEY.fullmatch(key):
            raise SettingsError(
                f"{KEY_VARIABLE} must be a key as `effect-ledger key create` prints"
            )
        self.url = url.rstrip("/")
        self.is_stranger = key is None
        self._http = httpx.Client(
            base_url=self.url,
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            timeout=TIMEOUT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.close()

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
            ProblemError, UnreachableError: As `send`.
        """
        return orjson.loads(self.send("GET", path, query=query, patience_s=patience_s))

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
            patience_s: As for `send`; every write has its key, which makes it safe.

        Raises:
            SettingsError: The key cannot stand in a header.
            ProblemError, UnreachableError: As `send`.
        """
        if key is not None and not KEY.fullmatch(key):
            raise SettingsError(f"--key must be {KEY_FORM}")
        is_lines = isinstance(body, bytes)
        headers = {"Content-Type": "application/x-ndjson" if is_lines else "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        content = body if is_lines else orjson.dumps(body)
        return orjson.loads(
            self.send(
                "POST", path, query=query, headers=headers, content=content, patience_s=patience_s
            )
        )

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        patience_s: float = 0.0,
    ) -> bytes:
        """
        The body of a good answer.

        Args:
            method: HTTP method.
            path: Under the service's URL.
            query: Parameters.
            headers: Beside the key.
            content: Body of the request.
            patience_s: How long to go on sending what may succeed later.

        Raises:
            ProblemError: The service refused.
            UnreachableError: No service answers, or what answers is none.
        """
        gives_up_at = time.monotonic() + patience_s
        pause_s = PAUSE_MIN_S
        while True:
            try:
                return self._send_once(method, path, query, headers, content)
            except (ProblemError, UnreachableError) as error:
                if isinstance(error, ProblemError) and not error.retryable:
                    raise
                if time.monotonic() + pause_s > gives_up_at:
                    raise
                asked_ms = error.details.get("retry_after_ms")
                time.sleep(max(pause_s, asked_ms / 1000 if isinstance(asked_ms, int) else 0.0))
                pause_s = min(2 * pause_s, PAUSE_MAX_S)

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
            ProblemError: The service refused.
            UnreachableError: No service answers.
        """
        gives_up_at = time.monotonic() + patience_s
        while (have := target.stat().st_size if target.exists() else 0) < size:
            try:
                self._download_once(path, target, have, size=size, etag=etag, tell=tell)
                gives_up_at = time.monotonic() + patience_s
            except httpx.HTTPError as error:
                if time.monotonic() > gives_up_at:
                    raise UnreachableError(
                        f"the download from {self.url} broke off at {have} of {size} bytes; the "
                        "same command goes on from there"
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
        with self._http.stream("GET", path, headers=headers) as answer:
            if not answer.is_success:
                answer.read()
                raise _refusal(answer)
            goes_on = answer.status_code == httpx.codes.PARTIAL_CONTENT
            with target.open("ab" if goes_on else "wb") as file:
                for chunk in answer.iter_bytes():
                    file.write(chunk)
                    tell(file.tell(), size)

    def _send_once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        content: bytes | None,
    ) -> bytes:
        try:
            answer = self._http.request(
                method, path, params=query or None, headers=headers, content=content
            )
        except httpx.ConnectError as error:
            raise UnreachableError(
                f"no service answers at {self.url}: start one with `effect-ledger serve`, or set "
                f"{URL_VARIABLE}"
            ) from error
        except httpx.HTTPError as error:
            raise UnreachableError(
                f"no answer came from {self.url} ({type(error).__name__}); a write may be sent "
                "again with the same key"
            ) from error
        if answer.is_success:
            return answer.content
        raise _refusal(answer)


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


def ledger_path(ledger: str, below: str = "") -> str:
    """
    The path of a ledger, or of something below it.

    Raises:
        MalformedEffectError, TooLargeError: No ledger can have this name.
    """
    return f"{LEDGERS}{quote(check_ledger_name(ledger, 'LEDGER'), safe='')}{below}"


def _refusal(answer: httpx.Response) -> LedgerError:
    try:
        problem = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        problem = None
    if not isinstance(problem, dict) or "code" not in problem:
        return UnreachableError(
            f"what answers at {answer.request.url.host} is not an effect ledger: "
            f"HTTP {answer.status_code}"
        )
    return ProblemError(problem)
