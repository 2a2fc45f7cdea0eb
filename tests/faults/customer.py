"""
A service that charges a card and records it, as one process of its own that may die at any moment.

It is what its users write: an intent, the call of the provider, the result. What it was told to do
it keeps elsewhere, so that another process can be told the same again.
"""

from __future__ import annotations

import os
import signal
import ssl
import sys
from dataclasses import dataclass
from typing import Any

import httpx

from ledger.client import AlreadyConcluded, Client, ClientError, OutcomeUnknown, Refused

DONE, UNKNOWN, CONCLUDED, REFUSED, FAILED, OTHER = 0, 3, 4, 5, 6, 7
DIES = ("promised", "started", "result", "handoff", "error")
"""After which step's answer it may die; the step is taken, and it does not live to know."""
PATIENCE_S = 1.5

# Read once: every process that is forked has them.
CERTIFICATES = ssl.create_default_context()


@dataclass(frozen=True, kw_only=True)
class Job:
    """One order that is to be paid."""

    url: str
    key: str
    ledger: str
    provider: str
    order: str
    minor: int
    answer_by: str
    name: str
    """Idempotency key of the intent."""
    dies: str | None = None


def pay(job: Job) -> None:
    """Charge and record one order; how it ended is the process's exit code."""
    with (
        httpx.Client(verify=CERTIFICATES, event_hooks={"response": [_death(job)]}) as http,
        Client(job.url, key=job.key, ledger=job.ledger, http=http) as ledger,
    ):
        sys.exit(_pay(job, ledger))


def _pay(job: Job, ledger: Client) -> int:
    try:
        with ledger.intent(
            key=job.name,
            type="card.capture",
            business_key=f"capture/{job.order}",
            answer_by=job.answer_by,
            money={"amount": f"{job.minor / 100:.2f}", "currency": "EUR", "flow": "in"},
        ) as intent:
            charge = _charge(job)
            if charge is None:
                intent.failed("card.declined")
                return FAILED
            intent.result({"system": "psp", "rel": "transaction", "ref": charge})
    except (ClientError, httpx.HTTPError) as error:
        return next(code for kind, code in _CODES.items() if isinstance(error, kind))
    return DONE


def _charge(job: Job) -> str | None:
    said = {"order": job.order, "minor": job.minor, "caller": os.getpid()}
    answer = httpx.post(
        f"{job.provider}/charges", json=said, timeout=PATIENCE_S, verify=CERTIFICATES
    )
    if answer.status_code == httpx.codes.PAYMENT_REQUIRED:
        return None
    return str(answer.raise_for_status().json()["id"])


_CODES: dict[type[Exception], int] = {
    AlreadyConcluded: CONCLUDED,
    OutcomeUnknown: UNKNOWN,
    Refused: REFUSED,
    # Of the provider: the block said that the outcome is unknown.
    httpx.HTTPError: UNKNOWN,
    ClientError: OTHER,
}


def _death(job: Job) -> Any:
    def hook(response: httpx.Response) -> None:
        if (
            job.dies is not None
            and response.request.method == "POST"
            and _step(response) == job.dies
        ):
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def _step(response: httpx.Response) -> str:
    key = response.request.headers.get("Idempotency-Key", "")
    last = key.rpartition("/")[2]
    return last if last in DIES else "promised"
