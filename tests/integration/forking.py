"""
Forking: commands as real processes that need not import the program first.

    tests --- arguments, environment, streams ---> a process that has imported it
                                                     |__ fork: looks after one command
                                                           |__ fork: the command, to its exit code

Importing takes longer than most commands take to run, and there are hundreds of them.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

MESSAGE_BYTES_MAX = 128 * 1024
ROOT = Path(__file__).parents[2]


def run_forked(
    arguments: Sequence[str], environment: Mapping[str, str], stdin: str, timeout_s: float
) -> tuple[int, str, str]:
    """Run a command to its end: its exit code, and what it wrote to its two streams."""
    request = {"arguments": arguments, "environment": dict(environment), "cwd": str(Path.cwd())}
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as caller,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        caller.settimeout(timeout_s)
        caller.connect(str(_forker()))
        reading, writing = os.pipe()
        # A pipe takes less than a large file, and whoever reads it may not have begun.
        feeding = threading.Thread(target=_feed, args=(writing, stdin.encode()))
        try:
            message = json.dumps(request).encode()
            assert len(message) <= MESSAGE_BYTES_MAX
            socket.send_fds(caller, [message], [reading, out.fileno(), err.fileno()])
        finally:
            os.close(reading)
        feeding.start()
        code = int(caller.recv(16))
        feeding.join()
        return code, _written(out), _written(err)


def _feed(writing: int, content: bytes) -> None:
    with suppress(BrokenPipeError), open(writing, "wb") as pipe:
        pipe.write(content)


def _written(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


@cache
def _forker() -> Path:
    """Where the process listens that commands are forks of; one for each that runs tests."""
    home = tempfile.TemporaryDirectory(prefix="effect-ledger-forks-")
    path = Path(home.name) / "socket"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.forking", str(path)],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("EFFECT_LEDGER_")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.stdout.close()

    @atexit.register
    def end() -> None:
        process.terminate()
        process.wait()
        home.cleanup()

    return path


# ---- The process that has imported it -------------------------------------------------


def main() -> None:
    """Listen, and fork."""
    _import_everything()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(sys.argv[1])
        listener.listen(64)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        gc.freeze()
        while True:
            caller, _ = listener.accept()
            if os.fork() == 0:
                break
            caller.close()
            _bury()
    _look_after(caller)


def _import_everything() -> None:
    import typer

    import ledger.cli
    from ledger.cli.main import app

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert len(list(commands.values())) > 20
    # What reads arguments is loaded with the first that are read.
    commands["settings"].make_context("settings", [])
    for module in pkgutil.walk_packages(ledger.cli.__path__, "ledger.cli."):
        importlib.import_module(module.name)
    importlib.import_module("ledger.service")


def _bury() -> None:
    """Wait for those who have looked after a command."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _look_after(caller: socket.socket) -> None:
    message, streams, _, _ = socket.recv_fds(caller, MESSAGE_BYTES_MAX, 3)
    pid = os.fork()
    if pid == 0:
        caller.close()
        _become(json.loads(message), streams)
        return
    _, status = os.waitpid(pid, 0)
    caller.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(request: Mapping[str, object], streams: Sequence[int]) -> None:
    from ledger.cli.main import PROGRAM
    from ledger.cli.main import main as run

    for standard, given in enumerate(streams):
        os.dup2(given, standard)
        os.close(given)
    # Anew: the old ones remember what their streams could do.
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, encoding="utf-8", closefd=False)
        for number, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    sys.argv = [PROGRAM, *request["arguments"]]
    code: object = 0
    try:
        run()
    except SystemExit as ended:
        code = ended.code or 0
    # It ends as any process does: threads are waited for, and what was registered is run. Only
    # taking the program apart is left out: it takes as long as most commands do.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    main()
