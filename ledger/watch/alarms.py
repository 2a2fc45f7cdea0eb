"""
Alarms: what becomes of a look. Whom it is told to, once; and what stands until it is taken back.

An alarm is on disk before it is sent. What signatures prove stands although the log shows
something better again, until whoever watches says that they know.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from ledger.watch.memory import Memory, MemoryFile
from ledger.watch.watcher import CONCLUSIVE, Look
from ledger.watch.webhook import Webhook

MESSAGE_MAX = 1_000


class Alarms:
    """The alarms of one log, in its watcher's memory."""

    def __init__(self, memory: MemoryFile, log: str, webhook: Webhook | None) -> None:
        """
        Keep the alarms of `log` in `memory`, and send them to `webhook` where there is one.

        Args:
            memory: Held by nobody else.
            log: Where it is read.
            webhook: Told of each alarm when it is raised and when it is over.
        """
        self._file = memory
        self._log = log
        self._webhook = webhook
        self.undelivered: str | None = None
        """Why the webhook did not take what it was sent last."""

    def acknowledge(self) -> list[str]:
        """Take back all alarms that stand, and return their kinds."""
        memory = self._file.load()
        if memory is None:
            return []
        kinds = sorted(memory.standing)
        memory.standing.clear()
        self._file.save(memory)
        return kinds

    def settle(self, look: Look) -> Look:
        """
        Record and tell what was found.

        Returns:
            The look; or the alarm that stands against what is good now.

        Raises:
            SettingsError: The memory cannot be used.
        """
        memory = self._file.load()
        if memory is None:
            # Nothing was ever verified here: there is no memory to begin, and each look tells.
            if look.kind is not None:
                self._deliver_now(self._alert(look, look.kind))
            return look
        before = [dict(memory.standing), list(memory.undelivered)]
        if look.kind is None:
            self._take_back(memory, look)
        elif look.kind not in memory.standing:
            memory.standing[look.kind] = alert = self._alert(look, look.kind)
            self._queue(memory, alert)
        if before != [memory.standing, memory.undelivered]:
            self._file.save(memory)
        self._deliver(memory)
        return _with_standing(look, memory)

    def _take_back(self, memory: Memory, look: Look) -> None:
        for kind in sorted(memory.standing.keys() - CONCLUSIVE):
            since = memory.standing.pop(kind)["at"]
            self._queue(memory, self._alert(look, kind) | {"state": "over", "since": since})

    def _alert(self, look: Look, kind: str) -> dict[str, Any]:
        return {
            "id": str(uuid.uuid4()),
            "log": self._log,
            "state": "raised",
            **look.document(),
            "kind": kind,
            "message": look.message[:MESSAGE_MAX],
        }

    def _queue(self, memory: Memory, alert: dict[str, Any]) -> None:
        if self._webhook is not None:
            memory.queue(alert)

    def _deliver(self, memory: Memory) -> None:
        if self._webhook is None:
            return
        self.undelivered = None
        while memory.undelivered:
            self._deliver_now(memory.undelivered[0])
            if self.undelivered is not None:
                return
            del memory.undelivered[0]
            self._file.save(memory)

    def _deliver_now(self, alert: dict[str, Any]) -> None:
        if self._webhook is not None:
            self.undelivered = self._webhook.deliver(alert)


def _with_standing(look: Look, memory: Memory) -> Look:
    for kind in sorted(CONCLUSIVE & memory.standing.keys()):
        alarm = memory.standing[kind]
        if look.kind not in CONCLUSIVE:
            return replace(
                look,
                kind=kind,
                message=f"since {alarm['at']} this stands: {alarm['message']}. Now: {look.message}",
                evidence=alarm["evidence"],
            )
    return look
