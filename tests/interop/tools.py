"""
Programs of others that verify a log, and where they are found on this machine.

What cannot be had is a loud skip, never a pass; what is there and does not work is a failure.
`bash tests/interop/install` brings what this machine can have.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
APART = HERE.parents[1] / "build" / "interop" / "unpacked" / "usr"
"""Packages of others that are not installed on the machine."""
SOURCES = (Path("/usr/share/gocode"), APART / "share" / "gocode")
GO_ELSEWHERE = ":/usr/local/go/bin:/usr/lib/go/bin"
TIMEOUT_S = 300.0
# What the sources of the checker ask for.
FSCK_GO_MIN = (1, 26)
INSTALL = "`bash tests/interop/install` says what it could not bring"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a program ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Everything it printed."""
        return self.out + self.err


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program of others, ready to run."""

    path: Path
    version: str
    """What it was made from, for the record."""
    environment: dict[str, str] = field(default_factory=dict)

    def run(
        self, *arguments: str | Path, token: str | None = None, cwd: Path | None = None
    ) -> Ended:
        """Run it to its end; `token` is the key it reads a log with."""
        environment = {**os.environ, **self.environment}
        environment.pop("LOG_TOKEN", None)
        if token is not None:
            environment["LOG_TOKEN"] = token
        done = subprocess.run(
            [self.path, *map(str, arguments)],
            env=environment,
            cwd=cwd,
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT_S,
            check=False,
        )
        assert "panic:" not in done.stderr, done.stderr
        return Ended(code=done.returncode, out=done.stdout, err=done.stderr)


def find_installed(name: str) -> Program:
    """A program that was installed, on the machine or apart from it."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:{APART / 'bin'}")
    if found is None:
        pytest.skip(f"there is no {name} here: {INSTALL}")
    return Program(path=Path(found), version=name)


def build_reader(into: Path) -> Program:
    """Our reader over golang.org/x/mod: of an installed package, else from the module proxy."""
    go = _find_go()
    for source in SOURCES:
        if (source / "src/golang.org/x/mod/sumdb/tlog").is_dir():
            return _build(go, "reader", into, gopath=source)
    environment = {**os.environ, "GO111MODULE": "on", "GOFLAGS": "-mod=readonly"}
    fetched = subprocess.run(
        [go, "mod", "download"],
        cwd=HERE / "reader",
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert "SECURITY ERROR" not in fetched.stderr, fetched.stderr
    if fetched.returncode:
        pytest.skip(f"golang.org/x/mod cannot be had ({fetched.stderr[-200:].strip()}): {INSTALL}")
    return _build(go, "reader", into, gopath=None)


def build_fsck(into: Path) -> Program:
    """The checker of other people's logs, over the library it is made of."""
    go = _find_go()
    version = _version(go)
    if version < FSCK_GO_MIN:
        pytest.skip(f"Tessera's sources need Go {FSCK_GO_MIN}, this is {version}: {INSTALL}")
    for source in SOURCES:
        if (source / "src/github.com/transparency-dev/tessera/fsck").is_dir():
            return _build(go, "fsck", into, gopath=source)
    pytest.skip(f"there are no sources of Tessera here: {INSTALL}")


def _find_go() -> Path:
    found = shutil.which("go", path=os.environ["PATH"] + GO_ELSEWHERE)
    if found is None:
        pytest.skip(f"there is no Go here: {INSTALL}")
    return Path(found)


def _version(go: Path) -> tuple[int, ...]:
    told = subprocess.run([go, "env", "GOVERSION"], capture_output=True, check=True).stdout
    major, minor = told.decode().strip().removeprefix("go").split(".")[:2]
    return int(major), int("".join(each for each in minor if each.isdigit()))


def _build(go: Path, name: str, into: Path, *, gopath: Path | None) -> Program:
    """Build what is in the folder `name`; of sources that are here, nothing is fetched."""
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "", "CGO_ENABLED": "0"}
    if gopath is None:
        environment["GO111MODULE"] = "on"
    else:
        environment |= {"GO111MODULE": "off", "GOPATH": str(gopath)}
    program = into / name
    built = subprocess.run(
        [go, "build", "-o", program, "."],
        cwd=HERE / name,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
    )
    if built.returncode:
        pytest.fail(f"{name} cannot be built with {go} of {gopath}: {built.stderr[-2_000:]}")
    return Program(path=program, version=f"{go} with {gopath or 'modules'}")
