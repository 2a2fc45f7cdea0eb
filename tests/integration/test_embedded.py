"""
The embedded server keeps its promises: a real PostgreSQL, real users, real signals.

Most directories live outside pytest's own, which as root is closed to every other user.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from ledger.errors import DatabaseUnavailableError, LedgerError, SettingsError
from ledger.storage.database import ERASER, OWNER, READER, WRITER
from ledger.storage.embedded import (
    EmbeddedServer,
    account,
    attach,
    binaries,
    cluster,
    find_binaries,
    layout,
    open_server,
    supervision,
)
from ledger.storage.embedded.postmaster import is_postmaster

ROLES = (OWNER, WRITER, READER, ERASER, "postgres")
PATIENCE_S = 20.0

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes other users, which needs root")
forks = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    """A directory every user may pass through."""
    path = Path(tempfile.mkdtemp(prefix="effect-ledger-test-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def data_dir(base: Path) -> Iterator[Path]:
    """A data directory that does not exist yet."""
    path = Path(tempfile.mkdtemp(dir=base)) / "data"
    path.parent.chmod(0o711)
    yield path
    shutil.rmtree(path.parent)


@pytest.fixture(scope="module")
def server(base: Path) -> Iterator[EmbeddedServer]:
    """One server for the tests that leave it as it was."""
    with EmbeddedServer(base / "shared") as server:
        yield server


@pytest.fixture
def nobody() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for another supervisor to finish."""
    monkeypatch.setattr(supervision, "LOCK_PATIENCE_S", 0.1)


def ask(server: EmbeddedServer | supervision.Attached, query: str, role: str = OWNER) -> object:
    """The first column of the first row."""
    with psycopg.connect(server.conninfo(role), autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


def execute(server: EmbeddedServer, statement: str, role: str = OWNER) -> None:
    with psycopg.connect(server.conninfo(role), autocommit=True) as connection:
        connection.execute(statement.encode())


def eventually(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "waited long enough"
        time.sleep(0.02)


def in_a_fork(act: Callable[[], object], user: pwd.struct_passwd | int | None = None) -> str:
    """What `act` returns or raises in a child of this process, as another user if asked."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            _become(user)
            said = str(act())
        except BaseException as error:  # noqa: BLE001 - the parent judges it
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode(errors="replace"))
        os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:  # noqa: PTH123 - a descriptor, not a path
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def _become(user: pwd.struct_passwd | int | None) -> None:
    if user is None:
        return
    uid, gid = (user, user) if isinstance(user, int) else (user.pw_uid, user.pw_gid)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


@contextmanager
def supervisor_elsewhere(data_dir: Path) -> Iterator[tuple[int, int]]:
    """Another process that supervises a server; the process ids of both."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        server = EmbeddedServer(data_dir)
        server.start()
        execute(server, "create table kept as select 42 as answer")
        os.write(writer, str(server.pid).encode())
        os.close(writer)
        signal.pause()
        os._exit(1)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:  # noqa: PTH123 - a descriptor, not a path
        postmaster = int(pipe.read())
    try:
        yield child, postmaster
    finally:
        end(child)


def end(child: int) -> None:
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def kill_postmaster(pid: int, pgdata: Path) -> None:
    assert is_postmaster(pid, pgdata, pgdata.stat().st_uid)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not is_postmaster(pid, pgdata, pgdata.stat().st_uid))


def modes(path: Path) -> dict[Path, tuple[int, int, int]]:
    """Mode, owner and group of a path and all its parents."""
    found = {step: step.stat() for step in (path, *path.parents) if step.exists()}
    return {step: (it.st_mode, it.st_uid, it.st_gid) for step, it in found.items()}


# Where it runs ----------------------------------------------------------------------------------

PATHS = {
    # Short: the socket of a longer path is elsewhere.
    "all": "ü '\"\\%{x}$HOME#,\n2",
    "long": "/".join(["a-directory-with-a-long-name-" + "x" * 30] * 6),
}
ONE_BY_ONE = {
    "space": "with a space/and  two",
    "unicode": "Büro/日本語",
    "special": 'it\'s "quoted"/back\\slash 50% {of} $HOME #1',
    "comma": "one, two",
    "newline": "one\ntwo",
}


@pytest.mark.parametrize(
    "path",
    [
        *(pytest.param(path, id=name) for name, path in PATHS.items()),
        *(pytest.param(path, id=name, marks=pytest.mark.slow) for name, path in ONE_BY_ONE.items()),
    ],
)
def test_any_path_will_do(data_dir: Path, path: str) -> None:
    """Whatever the data directory is called, all five roles connect as themselves."""
    with EmbeddedServer(data_dir / path) as server:
        assert [ask(server, "select current_user", role) for role in ROLES] == list(ROLES)
        assert (data_dir / path / "postgres" / "18" / "PG_VERSION").exists()


def test_the_callers_environment_changes_nothing(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Foreign languages that are not installed, and variables meant for other servers."""
    monkeypatch.setenv("LANG", "tr_TR.UTF-8")
    monkeypatch.setenv("LC_ALL", "zh_CN.GB18030")
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGHOSTADDR", "192.0.2.1")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATABASE", "another")
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    with EmbeddedServer(data_dir) as server:
        assert ask(server, "show server_encoding") == "UTF8"
        assert (
            ask(server, "select datlocale from pg_database where datname = 'effect_ledger'")
            == "C.UTF-8"
        )
        assert ask(server, "show log_timezone") == "UTC"
        assert ask(server, "select current_database()") == "effect_ledger"
        assert ask(server, "select upper('é') || upper('i')") == "ÉI"


@pytest.mark.slow
def test_umask_of_the_caller_changes_nothing(data_dir: Path) -> None:
    before = os.umask(0o000)
    try:
        with EmbeddedServer(data_dir):
            open_to_others = [
                path
                for path in (data_dir, *data_dir.rglob("*"))
                if not path.is_socket() and stat.S_IMODE(path.stat().st_mode) & 0o067
            ]
    finally:
        os.umask(before)
    assert open_to_others == []


@pytest.mark.parametrize(
    ("setting", "value"),
    {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "listen_addresses": "",
        "timezone": "UTC",
        "max_connections": "400",
        "jit": "off",
    }.items(),
)
def test_settings_promise_durability(server: EmbeddedServer, setting: str, value: str) -> None:
    assert ask(server, f"show {setting}") == value


def test_start_and_stop_may_be_repeated(data_dir: Path) -> None:
    """Both are idempotent, and a stopped server starts again with what it had."""
    server = EmbeddedServer(data_dir)
    server.stop()
    with pytest.raises(DatabaseUnavailableError):
        server.conninfo(OWNER)

    server.start()
    pid = server.pid
    server.start()
    assert server.pid == pid
    execute(server, "create table kept as select 1 as answer")
    server.stop()
    server.stop()
    assert server.pid is None

    with server:
        assert ask(server, "select answer from kept") == 1


def test_interrupted_initialisation_is_begun_again(data_dir: Path) -> None:
    """A half-made PGDATA never has its final name."""
    half_made = data_dir / "postgres" / "18.new"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18\n")
    with EmbeddedServer(data_dir) as server:
        assert ask(server, "select 1") == 1
    assert not half_made.exists()


@pytest.mark.parametrize("directory", ["17", "18"])
def test_data_of_another_major_is_refused(data_dir: Path, directory: str) -> None:
    """Both majors are named, and the command that helps."""
    pgdata = data_dir / "postgres" / directory
    pgdata.mkdir(parents=True)
    (pgdata / "PG_VERSION").write_text("17\n")
    with pytest.raises(SettingsError, match=r"PostgreSQL 17.*PostgreSQL 18.*dump"):
        EmbeddedServer(data_dir).start()


def test_old_logs_are_pruned(tmp_path: Path) -> None:
    """The log cannot fill the disk: the ten newest files stay."""
    paths = layout.layout_of(tmp_path)
    paths.log.mkdir(parents=True)
    for day in range(10, 30):
        (paths.log / f"postgresql-202001{day}-000000.log").touch()
    cluster.prune_logs(paths)
    assert sorted(path.name for path in paths.log.iterdir()) == [
        f"postgresql-202001{day}-000000.log" for day in range(20, 30)
    ]


def test_logs_hold_no_values(server: EmbeddedServer) -> None:
    """A person's data in a statement, a parameter, a row or an error never reaches the log."""
    canary = "canary-jane-doe"
    statements = [
        ("select %s::integer", [canary]),
        (f"select '{canary}'::integer", []),
        ("create table person (name text primary key)", []),
        ("insert into person select %s from generate_series(1, 2)", [canary]),
        ("do $$ begin raise warning 'canary-jane-doe'; end $$", []),
        ("drop table person", []),
    ]
    with psycopg.connect(server.conninfo(OWNER), autocommit=True) as connection:
        for statement, parameters in statements:
            with suppress(psycopg.Error):
                connection.execute(statement.encode(), parameters)
    written = b"".join(path.read_bytes() for path in server._layout.log.iterdir())
    assert b"ready to accept connections" in written
    assert canary.encode() not in written


# Who may do what --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["effect-ledger", "long"])
def test_socket_is_private_and_goes_with_the_server(data_dir: Path, name: str) -> None:
    """Inside the data directory or, where that is too deep, in a directory made for it."""
    path = data_dir / (PATHS["long"] if name == "long" else name)
    with EmbeddedServer(path) as server:
        socket_dir = Path(psycopg.conninfo.conninfo_to_dict(server.conninfo(OWNER))["host"])
        found = socket_dir.lstat()
        assert stat.S_ISDIR(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o700
        assert found.st_uid == Path(f"/proc/{server.pid}").stat().st_uid
        assert (path in socket_dir.parents) is (name != "long")
    assert not (socket_dir / layout.SOCKET_NAME).exists()
    assert socket_dir.exists() is (name != "long")


@needs_root
@forks
def test_other_users_cannot_connect(server: EmbeddedServer, nobody: pwd.struct_passwd) -> None:
    """The directory keeps them out; and were it open, the server would."""

    def connect() -> object:
        return ask(server, "select 'inside'")

    assert in_a_fork(connect) == "inside"
    assert "Permission denied" in in_a_fork(connect, nobody)

    socket = Path(psycopg.conninfo.conninfo_to_dict(server.conninfo(OWNER))["host"])
    doors = [socket / layout.SOCKET_NAME, socket, socket.parent, socket.parent.parent]
    before = {door: stat.S_IMODE(door.stat().st_mode) for door in doors}
    try:
        for door in doors:
            door.chmod(0o777)
        said = in_a_fork(connect, nobody)
    finally:
        for door, mode in before.items():
            door.chmod(mode)
    assert "Peer authentication failed" in said


@needs_root
def test_root_lends_the_server_to_a_system_user(server: EmbeddedServer) -> None:
    """PostgreSQL runs as that user, who may pass through to its own files and no others."""
    layout = server._layout
    uid = Path(f"/proc/{server.pid}").stat().st_uid
    assert pwd.getpwuid(uid).pw_name in account.SYSTEM_USERS
    for passage in (layout.data_dir, layout.postgres):
        assert stat.S_IMODE(passage.stat().st_mode) == 0o710
        assert passage.stat().st_uid == 0
    assert layout.pgdata.stat().st_uid == uid
    for secret in (layout.lock, layout.record, layout.startup_log):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert secret.stat().st_uid == 0


@needs_root
@forks
def test_normal_user_owns_everything(data_dir: Path, nobody: pwd.struct_passwd) -> None:
    """Without root nothing changes hands, and every directory is closed to others."""
    data_dir.mkdir()
    os.chown(data_dir, nobody.pw_uid, nobody.pw_gid)

    def run() -> object:
        with EmbeddedServer(data_dir) as server:
            postmaster = Path(f"/proc/{server.pid}").stat().st_uid
            return ask(server, "select 'inside'"), postmaster

    assert in_a_fork(run, nobody) == str(("inside", nobody.pw_uid))
    assert {path.stat().st_uid for path in data_dir.rglob("*")} == {nobody.pw_uid}
    postgres = data_dir / "postgres"
    for path in (data_dir, postgres, postgres / "18", postgres / "log"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


@needs_root
@forks
def test_root_leaves_a_users_data_to_the_user(data_dir: Path, nobody: pwd.struct_passwd) -> None:
    """A command run as root on a user's directory runs the server as that user."""
    data_dir.mkdir()
    os.chown(data_dir, nobody.pw_uid, nobody.pw_gid)

    with EmbeddedServer(data_dir) as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid == nobody.pw_uid
    assert {path.stat().st_uid for path in data_dir.rglob("*")} == {nobody.pw_uid}

    def run_again() -> object:
        with EmbeddedServer(data_dir) as server:
            return ask(server, "select 'inside'")

    assert in_a_fork(run_again, nobody) == "inside"


@needs_root
@forks
def test_user_without_a_name_is_told_so(data_dir: Path) -> None:
    data_dir.mkdir(mode=0o777)
    said = in_a_fork(EmbeddedServer(data_dir).start, 54_321)
    assert said.startswith("SettingsError: user id 54321 has no name")


def test_root_without_a_system_user_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "SYSTEM_USERS", ("effect-ledger-absent",))
    monkeypatch.setattr(account, "SYSTEM_PATH", "/nowhere")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(SettingsError, match="effect-ledger-absent could not be made"):
        account.choose_account(Path("/nowhere"), Path("/nowhere"))


@needs_root
def test_unreachable_parent_is_named_and_left_alone(tmp_path: Path) -> None:
    """The refusal names the directory and the way out; nothing is made, no mode is changed."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "open").mkdir()
    (closed / "open").chmod(0o755)
    data_dir = closed / "open" / "new" / "data"
    before = modes(data_dir)
    blocking = next(path for path in reversed(data_dir.parents) if not path.stat().st_mode & 0o001)

    with pytest.raises(SettingsError) as refused:
        EmbeddedServer(data_dir).start()

    assert f"cannot enter {blocking}: set EFFECT_LEDGER_DATA_DIR" in refused.value.message
    assert modes(data_dir) == before
    assert list((closed / "open").iterdir()) == []


@needs_root
def test_directory_with_other_things_keeps_its_mode(data_dir: Path) -> None:
    """/var/lib given by mistake is not closed to the machine; a closed one is not opened."""
    data_dir.mkdir()
    data_dir.chmod(0o755)
    (data_dir / "someone-elses").touch()
    for _ in range(2):
        with EmbeddedServer(data_dir):
            assert stat.S_IMODE(data_dir.stat().st_mode) == 0o755

    data_dir.chmod(0o700)
    with pytest.raises(SettingsError, match=f"cannot enter {data_dir}:"):
        EmbeddedServer(data_dir).start()
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700


def test_link_in_place_of_our_directory_is_refused(data_dir: Path, base: Path) -> None:
    target = base / "elsewhere"
    target.mkdir(exist_ok=True)
    data_dir.mkdir()
    (data_dir / "postgres").symlink_to(target)
    with pytest.raises(SettingsError, match="must be a directory of ours"):
        EmbeddedServer(data_dir).start()
    assert list(target.iterdir()) == []


@pytest.mark.slow
@needs_root
def test_restored_files_are_given_to_the_server(data_dir: Path) -> None:
    """A PGDATA unpacked by root belongs to PostgreSQL's user again."""
    with EmbeddedServer(data_dir) as server:
        uid = Path(f"/proc/{server.pid}").stat().st_uid
    pgdata = data_dir / "postgres" / "18"
    for path in (pgdata, *pgdata.rglob("*")):
        os.chown(path, 0, 0, follow_symlinks=False)
    with EmbeddedServer(data_dir):
        assert {path.stat().st_uid for path in pgdata.rglob("*")} == {uid}


@pytest.mark.slow
@needs_root
def test_unreachable_programs_are_copied(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment below /root is copied once to where PostgreSQL's user can read it."""
    installed = find_binaries()
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    package = closed / installed.parent.parent.name
    shutil.copytree(installed.parent, package / installed.parent.name, ignore=binaries.BUILD_ONLY)
    libraries = installed.parent.parent.with_suffix(".libs")
    if libraries.is_dir():
        shutil.copytree(libraries, closed / libraries.name)
    inside = package / installed.parent.name / "bin"
    monkeypatch.setattr(binaries, "find_binaries", lambda: inside)

    made_at = []
    for _ in range(2):
        with EmbeddedServer(data_dir) as server:
            assert ask(server, "select 1") == 1
            runs = Path(f"/proc/{server.pid}/exe").resolve()
        runtime = data_dir / "postgres" / "runtime"
        assert runtime in runs.parents
        made_at.append(runs.stat().st_ctime_ns)
    assert made_at[0] == made_at[1]
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    for path in runtime.rglob("*"):
        if not path.is_symlink():
            assert path.stat().st_uid == 0
            assert not path.stat().st_mode & 0o022


# One supervisor, and the others beside it -------------------------------------------------------


@pytest.mark.usefixtures("impatient")
def test_second_supervisor_is_refused(server: EmbeddedServer) -> None:
    """It learns who holds the directory and what to do; the first goes on."""
    with pytest.raises(SettingsError, match="EFFECT_LEDGER_DATA_DIR") as refused:
        EmbeddedServer(server._layout.data_dir).start()
    assert refused.value.details["pid"] == os.getpid()
    assert f"process {os.getpid()} already runs" in refused.value.message
    assert ask(server, "select 1") == 1


@forks
@pytest.mark.usefixtures("impatient")
def test_commands_attach_to_a_running_service(data_dir: Path) -> None:
    """Beside a service a command uses its server, and leaves it running."""
    assert attach(data_dir) is None
    with supervisor_elsewhere(data_dir) as (supervisor, postmaster):
        with open_server(data_dir) as beside:
            assert isinstance(beside, supervision.Attached)
            assert beside.supervisor == supervisor
            assert ask(beside, "select answer from kept") == 42
        with pytest.raises(SettingsError, match=f"process {supervisor} already runs"):
            EmbeddedServer(data_dir).start()
        pgdata = data_dir / "postgres" / "18"
        assert is_postmaster(postmaster, pgdata, pgdata.stat().st_uid)

        end(supervisor)
        assert attach(data_dir) is None
        with EmbeddedServer(data_dir):
            pass


def test_command_alone_brings_its_own_server(data_dir: Path) -> None:
    with open_server(data_dir) as alone:
        assert isinstance(alone, EmbeddedServer)
        assert ask(alone, "select 1") == 1
    assert attach(data_dir) is None
    assert not (data_dir / "postgres" / "server.json").exists()


@forks
def test_fork_does_not_stop_its_parents_server(server: EmbeddedServer) -> None:
    in_a_fork(server.stop)
    assert ask(server, "select 1") == 1


# After a crash ----------------------------------------------------------------------------------


def test_killed_server_is_started_again(data_dir: Path) -> None:
    """What was committed is there, under the same connection string."""
    with EmbeddedServer(data_dir) as server:
        execute(server, "create table kept as select 42 as answer")
        conninfo, killed = server.conninfo(OWNER), server.pid
        assert killed is not None
        kill_postmaster(killed, server._layout.pgdata)

        def answers() -> bool:
            with suppress(psycopg.OperationalError):
                return ask(server, "select answer from kept") == 42
            return False

        eventually(answers)
        assert server.conninfo(OWNER) == conninfo
        assert server.pid not in {None, killed}
        eventually(lambda: (it := supervision.read_record(server._layout)) and it.pid == server.pid)


@forks
def test_orphan_is_ended_before_a_new_start(data_dir: Path) -> None:
    """A server whose supervisor was killed is shut down, and its data goes on."""
    long_path = data_dir / PATHS["long"]
    pgdata = long_path / "postgres" / "18"
    with supervisor_elsewhere(long_path) as (supervisor, orphan):
        end(supervisor)
        owner = pgdata.stat().st_uid
        assert is_postmaster(orphan, pgdata, owner)
        record = supervision.read_record(layout.layout_of(long_path))
        assert record is not None

        with EmbeddedServer(long_path) as server:
            assert not is_postmaster(orphan, pgdata, owner)
            assert ask(server, "select answer from kept") == 42
            assert not Path(record.socket_dir).exists()


@forks
def test_reused_process_id_neither_blocks_nor_is_killed(data_dir: Path) -> None:
    """After a crash the number in the lock files belongs to a stranger of the same user."""
    pgdata = data_dir / "postgres" / "18"
    with supervisor_elsewhere(data_dir) as (supervisor, postmaster):
        end(supervisor)
        kill_postmaster(postmaster, pgdata)

    owner = pgdata.stat().st_uid
    as_owner = {} if owner == os.geteuid() else {"user": owner}
    with subprocess.Popen(["/bin/sleep", "60"], cwd="/", **as_owner) as stranger:
        try:
            locks = (pgdata / "postmaster.pid", data_dir / "postgres/socket/.s.PGSQL.5432.lock")
            for lock in locks:
                _, rest = lock.read_text().split("\n", 1)
                lock.write_text(f"{stranger.pid}\n{rest}")

            with EmbeddedServer(data_dir) as server:
                assert ask(server, "select answer from kept") == 42
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_only_the_server_itself_is_taken_for_it(server: EmbeddedServer, base: Path) -> None:
    """Strangers in its directory, its own children and other servers are not signalled."""
    pgdata, pid = server._layout.pgdata, server.pid
    assert pid is not None
    uid = pgdata.stat().st_uid
    assert is_postmaster(pid, pgdata, uid)
    assert not is_postmaster(pid, pgdata, uid + 1)
    assert not is_postmaster(pid, base, uid)
    assert not is_postmaster(os.getpid(), pgdata, os.geteuid())

    backend = ask(server, "select pg_backend_pid()")
    checkpointer = ask(
        server,
        "select pid from pg_stat_activity where backend_type = 'checkpointer'",
        "postgres",
    )
    assert checkpointer != backend
    for child in (backend, checkpointer):
        assert isinstance(child, int)
        assert not is_postmaster(child, pgdata, uid)

    with subprocess.Popen(["/bin/sleep", "60"], cwd=pgdata) as stranger:
        try:
            assert not is_postmaster(stranger.pid, pgdata, os.geteuid())
        finally:
            stranger.kill()


def test_arguments_tell_the_server_where_its_directory_is_hidden(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root in a container may not look at another user's process more closely."""

    def hidden(*_: object) -> bool:
        raise PermissionError

    monkeypatch.setattr(Path, "samefile", hidden)
    pgdata, pid = server._layout.pgdata, server.pid
    assert pid is not None
    assert is_postmaster(pid, pgdata, pgdata.stat().st_uid)
    assert not is_postmaster(pid, pgdata.parent, pgdata.stat().st_uid)


def test_interrupt_at_the_terminal_is_not_for_the_server(server: EmbeddedServer) -> None:
    """Ctrl-C reaches the service alone, which ends the server after its last commit."""
    assert server.pid is not None
    assert os.getsid(server.pid) == os.getpgid(server.pid) == server.pid


def test_server_that_cannot_start_says_why(data_dir: Path) -> None:
    """PostgreSQL's own words reach the caller, and nothing is left running or locked."""
    with EmbeddedServer(data_dir):
        pass
    local = data_dir / "postgres" / "18" / "local.conf"
    local.write_text("shared_buffers = 'a lot'\n")
    local.chmod(0o644)
    server = EmbeddedServer(data_dir)
    with pytest.raises(LedgerError, match=r"PostgreSQL did not start: .*FATAL: .*configuration"):
        server.start()
    assert server.pid is None
    assert attach(data_dir) is None

    local.unlink()
    with server:
        assert ask(server, "select 1") == 1


@pytest.mark.slow
def test_server_that_keeps_dying_comes_back_each_time(data_dir: Path) -> None:
    """Restarts are spaced further apart, and none is lost."""
    with EmbeddedServer(data_dir) as server:
        execute(server, "create table kept (round integer)")
        for round_ in range(4):
            execute(server, f"insert into kept values ({round_})")
            killed = server.pid
            assert killed is not None
            kill_postmaster(killed, server._layout.pgdata)

            def is_back(killed: int = killed, rounds: int = round_ + 1) -> bool:
                with suppress(psycopg.OperationalError):
                    return (
                        server.pid != killed and ask(server, "select count(*) from kept") == rounds
                    )
                return False

            eventually(is_back)


@pytest.mark.slow
def test_stop_during_a_crash_leaves_nothing(data_dir: Path) -> None:
    """Stopping while the watcher is about to restart ends with no server at all."""
    pgdata = data_dir / "postgres" / "18"
    for delay_s in (0.0, 0.2, 0.6, 0.75):
        server = EmbeddedServer(data_dir)
        server.start()
        assert server.pid is not None
        kill_postmaster(server.pid, pgdata)
        time.sleep(delay_s)
        server.stop()
        assert server.pid is None
        assert not (pgdata / "postmaster.pid").exists() or attach(data_dir) is None
        assert not (data_dir / "postgres" / "server.json").exists()
