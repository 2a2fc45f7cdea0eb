"""
Transport: flows performed with real sockets, with and without `await`.

Everything that can happen to a connection becomes a `Failure` that says whether anything left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from ledger.client.errors import NotSent
from ledger.client.exchange import Flow, Pause, Send
from ledger.client.judgement import Answer, Failure
from ledger.client.requests import Request
from ledger.forms.grammar import KEY

T = TypeVar("T")

CONNECT_TIMEOUT_S = 5.0
ANSWER_BYTES_MAX = 256 * 1024 * 1024

# Raised before the request is written; a failed handshake is a ConnectError too.
_NEVER_LEFT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
)


class Transport:
    """Performs flows in the calling thread; may be shared between threads."""

    def __init__(self, url: str, key: str | None, http: httpx.Client | None = None) -> None:
        """
        Speak to the service at `url`; nothing is sent yet.

        Args:
            url: Where it is.
            key: API key; without one, as a stranger.
            http: The caller's own client, with its proxies and certificates; not closed here.

        Raises:
            NotSent: The URL or the key is none.
        """
        self._url = checked_url(url)
        self._headers = credential(key)
        self._is_ours = http is None
        self.http = http or httpx.Client()

    def close(self) -> None:
        """Let go of the connections."""
        if self._is_ours:
            self.http.close()

    def perform(self, flow: Flow[T]) -> T:
        """Perform the steps of a flow, to its end."""
        reply: Any = None
        raised: Exception | None = None
        while True:
            try:
                step = flow.send(reply) if raised is None else flow.throw(raised)
            except StopIteration as done:
                value: T = done.value
                return value
            reply, raised = None, None
            if isinstance(step, Send):
                reply = self._send(step)
            elif isinstance(step, Pause):
                time.sleep(step.seconds)
            else:
                try:
                    reply = step.run()
                except Exception as error:  # noqa: BLE001 - the flow knows what it means.
                    raised = error

    def opened(self, request: Request, within_s: float) -> AbstractContextManager[httpx.Response]:
        """The response to a request, whose body is still to be read; raises as httpx does."""
        return self.http.stream(**_arguments(self._url, self._headers, request, within_s))

    def _send(self, step: Send) -> Answer | Failure:
        ends_at = time.monotonic() + step.within_s
        try:
            with self.opened(step.request, step.within_s) as response:
                content = bytearray()
                for chunk in response.iter_bytes():
                    content += chunk
                    # A peer that drips is as slow as one that is silent.
                    if time.monotonic() > ends_at:
                        return _too_slow(step)
                    if len(content) > ANSWER_BYTES_MAX:
                        return _too_long()
                return read_answer(response, bytes(content))
        except (httpx.HTTPError, httpx.StreamError) as error:
            return _failure(error)


class AsyncTransport:
    """The same under asyncio; what may wait for a disk runs in a thread."""

    def __init__(self, url: str, key: str | None, http: httpx.AsyncClient | None = None) -> None:
        """As `Transport`."""
        self._url = checked_url(url)
        self._headers = credential(key)
        self._is_ours = http is None
        self.http = http or httpx.AsyncClient()

    async def close(self) -> None:
        """Let go of the connections."""
        if self._is_ours:
            await self.http.aclose()

    async def perform(self, flow: Flow[T]) -> T:
        """Perform the steps of a flow, to its end."""
        reply: Any = None
        raised: Exception | None = None
        while True:
            try:
                step = flow.send(reply) if raised is None else flow.throw(raised)
            except StopIteration as done:
                value: T = done.value
                return value
            reply, raised = None, None
            if isinstance(step, Send):
                reply = await self._send(step)
            elif isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            else:
                try:
                    reply = await asyncio.to_thread(step.run)
                except Exception as error:  # noqa: BLE001 - the flow knows what it means.
                    raised = error

    async def _send(self, step: Send) -> Answer | Failure:
        try:
            async with (
                asyncio.timeout(step.within_s),
                self.http.stream(
                    **_arguments(self._url, self._headers, step.request, step.within_s)
                ) as response,
            ):
                content = bytearray()
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > ANSWER_BYTES_MAX:
                        return _too_long()
                return read_answer(response, bytes(content))
        except TimeoutError:
            return _too_slow(step)
        except (httpx.HTTPError, httpx.StreamError) as error:
            return _failure(error)


def checked_url(url: str) -> str:
    """
    The URL of a service, without a slash at its end.

    Raises:
        NotSent: It is none.
    """
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        # Errors and logs name the URL: a password in it would be told to whoever reads them.
        is_url = is_url and "@" not in parts.netloc and not (parts.query or parts.fragment)
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        is_url = False
    if not is_url:
        raise NotSent(
            "the service's URL must be one such as http://127.0.0.1:8420, without a password, a "
            "query or a fragment",
            reason="request.url",
        )
    return url.rstrip("/")


def credential(key: str | None) -> Mapping[str, str]:
    """
    The header that an API key goes in.

    Raises:
        NotSent: The key cannot stand in one.
    """
    if key is None:
        return {}
    if not KEY.fullmatch(key):
        raise NotSent(
            "the API key must be one as `effect-ledger key create` prints",
            reason="credential.form",
        )
    return {"Authorization": f"Bearer {key}"}


def _arguments(
    url: str, headers: Mapping[str, str], request: Request, within_s: float
) -> dict[str, Any]:
    return {
        "method": request.method,
        "url": f"{url}{request.path}",
        "params": dict(request.query) or None,
        "headers": {**headers, **request.headers},
        "content": request.content,
        # A redirected POST would be sent to somebody the caller never named.
        "follow_redirects": False,
        "timeout": httpx.Timeout(within_s, connect=min(CONNECT_TIMEOUT_S, within_s)),
    }


def read_answer(response: httpx.Response, content: bytes) -> Answer:
    """A response with its body, as it is judged."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(status=response.status_code, headers=headers, content=content)


def _failure(error: Exception) -> Failure:
    says = str(error) or "no words"
    return Failure(why=f"{type(error).__name__}: {says}", never_left=isinstance(error, _NEVER_LEFT))


def _too_slow(step: Send) -> Failure:
    return Failure(why=f"no whole answer within {step.within_s:g} s", never_left=False)


def _too_long() -> Failure:
    return Failure(why=f"an answer of more than {ANSWER_BYTES_MAX:,} bytes", never_left=False)
