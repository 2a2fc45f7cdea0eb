"""TSA: a timestamp authority over HTTP, as RFC 3161 Section 3.4 has it."""

from __future__ import annotations

import httpx

from ledger.errors import SettingsError
from ledger.ports import NotAnswered
from ledger.rfc3161 import TOKEN_BYTES_MAX

# A token says when it was made, so one that came late is as good.
TIMEOUT = httpx.Timeout(10.0, connect=5.0)

_HEADERS = {
    "Content-Type": "application/timestamp-query",
    "Accept": "application/timestamp-reply",
    # What is compressed may be larger than anybody meant to read.
    "Accept-Encoding": "identity",
}


class HttpAuthority:
    """A `ports.TimestampTransport`. Used by one thread at a time."""

    def __init__(self, url: str) -> None:
        """
        Speak to the authority at `url`; nothing is sent yet.

        Raises:
            SettingsError: Not a URL of HTTP.
        """
        try:
            self._url = httpx.URL(url)
            # A user and password are for the authority, and not for the log.
            self._shown = self._url.copy_with(userinfo=b"", query=None)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise SettingsError("not the URL of a timestamp authority") from error
        if not self._url.host:
            raise SettingsError("the URL of the timestamp authority names no host")
        # Redirects are not followed: a query goes where the settings say.
        self._http = httpx.Client(timeout=TIMEOUT)

    def ask(self, query: bytes) -> bytes | NotAnswered:
        """The authority's reply to a query, whatever it says."""
        try:
            with self._http.stream("POST", self._url, content=query, headers=_HEADERS) as response:
                reply = b""
                for chunk in response.iter_raw():
                    reply += chunk
                    if len(reply) > TOKEN_BYTES_MAX:
                        break
        except httpx.HTTPError as error:
            return NotAnswered(reason=f"{self._shown} does not answer: {type(error).__name__}")
        if response.status_code != httpx.codes.OK:
            return NotAnswered(reason=f"{self._shown} answers {response.status_code}")
        return reply

    def close(self) -> None:
        """Close the connection."""
        self._http.close()
