"""Fixtures of every suite: one database server per run, one fresh ledger per test."""

from __future__ import annotations
