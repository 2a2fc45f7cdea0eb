"""Webhook: an alert as a POST of JSON, sent again where it was not taken, and never for long."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import httpx

from ledger.errors import SettingsError

ATTEMPTS = 3
PAUSE_S = 1.0
TIMEOUT = httpx.Timeout(10.0, connect=5.0)


class Webhook:
    """Where alerts are sent. The URL may hold a secret and is never shown."""

    def __init__(self, url: str) -> None:
        """
        Send to `url`; nothing is sent yet.

        Raises:
            SettingsError: It is no URL.
        """
        try:
            parts = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise SettingsError("--webhook is not a URL") from error
        if parts.scheme not in {"http", "https"} or not parts.host:
            raise SettingsError("--webhook is not an http or https URL")
        self._url = url

    def deliver(self, alert: Mapping[str, Any]) -> str | None:
        """
        Send one alert, a few times if need be.

        The same alert may arrive twice; its `id` tells. Redirects are not followed.

        Returns:
            None once it was taken, else why not.
        """
        why = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(PAUSE_S * attempt)
            try:
                answer = httpx.post(self._url, json=dict(alert), timeout=TIMEOUT)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                why = type(error).__name__
                continue
            if answer.is_success:
                return None
            why = f"HTTP {answer.status_code}"
        return why
