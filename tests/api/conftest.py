"""The service as clients meet it: a real server on loopback over the real database."""

from __future__ import annotations
