"""What the tests of the commands run them with: real processes, a real service."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

from ledger.storage.database import Conninfo
from ledger.storage.embedded import open_server
from ledger.storage.embedded.cluster import SUPERUSER
from ledger.storage.schema import migrate
from tests.integration.forking import run_forked

COMMAND = [sys.executable, "-m", "ledger.cli.main"]
TIMEOUT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object on standard output; fails where there is anything else."""
        return json.loads(self.out)


@dataclass(frozen=True, kw_only=True)
class Shell:
    """Runs commands with one environment."""

    data_dir: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of the settings of whoever runs the tests."""
        mine = {k: v for k, v in os.environ.items() if not k.startswith("EFFECT_LEDGER_")}
        return mine | {"EFFECT_LEDGER_DATA_DIR": str(self.data_dir)} | dict(self.variables)

    def set(self, **variables: str) -> Shell:
        """The same shell with more variables, by their names after the prefix."""
        named = {f"EFFECT_LEDGER_{name}": value for name, value in variables.items()}
        return replace(self, variables={**self.variables, **named})

    def run(self, *arguments: str | Path, stdin: str = "") -> Done:
        """Run a command to its end."""
        code, out, err = run_forked([*map(str, arguments)], self.environment, stdin, TIMEOUT_S)
        # A person is told what to do; a traceback tells them that we did not think of it.
        assert "Traceback" not in err, err
        return Done(code=code, out=out, err=err)

    def good(self, *arguments: str | Path, stdin: str = "") -> Any:
        """Run a command with --json that must succeed; what it printed."""
        done = self.run(*arguments, "--json", stdin=stdin)
        assert done.code == 0, done.err
        return done.json

    @contextmanager
    def serving(self, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Any]]:
        """`serve` on a free port until the block ends: the process, and what it announced."""
        service = subprocess.Popen(
            [*COMMAND, "serve", "--port", str(free_port()), "--json", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )
        try:
            assert service.stdout is not None
            line = service.stdout.readline()
            assert line, f"serve ended with {service.wait()}"
            yield service, json.loads(line)
        finally:
            if service.poll() is None:
                service.send_signal(signal.SIGTERM)
            service.wait(TIMEOUT_S)
            service.stdout.close()


@contextmanager
def passable_directory() -> Iterator[Path]:
    """
    A directory every user may pass through, as the database's own user must where root tests.

    Not one of pytest's: each run closes those of all others.
    """
    with tempfile.TemporaryDirectory(prefix="effect-ledger-test-") as made:
        path = Path(made)
        path.chmod(0o711)
        yield path


@contextmanager
def settled_directory() -> Iterator[Path]:
    """
    A directory as `passable_directory`, with a data directory `data` in it.

    Its database is there and empty, with the newest schema: made once, and copied for each.
    """
    with passable_directory() as path:
        # With owners: the database has its own user where root tests.
        subprocess.run(["cp", "-a", _settled() / "data", path / "data"], check=True)
        yield path


@contextmanager
def migrated_database() -> Iterator[Conninfo]:
    """A fresh database with the newest schema, and how to connect to it as each role."""
    with settled_directory() as path, open_server(path / "data") as server:
        yield server.conninfo


@cache
def _settled() -> Path:
    made = ExitStack()
    path = made.enter_context(passable_directory())
    with open_server(path / "data") as server:
        migrate(server.conninfo)
        with psycopg.connect(server.conninfo(SUPERUSER), autocommit=True) as connection:
            # For the copies: processes are killed in tests and the power is never cut, so what
            # they find would be the same with the disk waited for.
            connection.execute("alter system set fsync = off")
    atexit.register(made.close)
    return path


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
