"""Laws of an ordinary restart: who follows a ledger misses nothing, and is not sent away."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import ExitStack

import pytest

from ledger.client import Client
from tests.api.support import capture
from tests.integration.commands import Shell, free_port, settled_directory

pytestmark = pytest.mark.slow

WITHIN_S = 60.0


def test_a_feed_goes_on_over_a_restart():
    """What was recorded before and after is told once each, in order, and nothing is raised."""
    with settled_directory() as base, ExitStack() as opened:
        shell, port = Shell(data_dir=base / "data"), str(free_port())
        heard: list[int] = []
        url = f"http://127.0.0.1:{port}"

        with shell.serving("--port", port) as (service, _):
            key = shell.good("key", "create", "--name", "shop", "--scope", "*")["key"]
            shell.good("ledger", "create", "shop")
            client = opened.enter_context(Client(url, key=key, ledger="shop"))
            client.post("/effects", capture(), key="a")
            listener = threading.Thread(
                target=lambda: heard.extend(
                    entry.seq for _, entry in zip(range(2), client.feed(wait_s=30), strict=False)
                ),
                daemon=True,
            )
            listener.start()
            time.sleep(0.5)
            service.send_signal(signal.SIGTERM)
            service.wait(WITHIN_S)
        with shell.serving("--port", port):
            client.post("/effects", capture(), key="b")
            listener.join(WITHIN_S)

        assert heard == [0, 1]
