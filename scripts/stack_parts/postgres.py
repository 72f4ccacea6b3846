"""PostgreSQL 15 from the distribution's binaries, under an unprivileged user."""

import os
import shutil
import signal
from pathlib import Path

from stack_parts.database_part import as_user, filled, make_once, provision_once, run
from stack_parts.failure import StackError
from stack_parts.layout import LOOPBACK, Layout, server_user
from stack_parts.part import Part, running_part
from stack_parts.secret_files import DATABASE, POSTGRES_ADMIN, passwords, write_private
from stack_parts.tools import POSTGRES_BINARIES

SETTINGS = {
    "wal_level": "logical",
    "synchronous_commit": "on",
    # Local only: what is committed survives the server's death, not the machine's.
    "fsync": "off",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
    "timezone": "UTC",
}


def _initialise(layout: Layout, user: str | None, folder: Path) -> None:
    # initdb runs as the server's user, who may not read our secrets.
    handed_over = folder.with_name("postgres.password")
    write_private(handed_over, passwords(layout.secrets, "postgres")[POSTGRES_ADMIN] + "\n")
    if user is not None:
        shutil.chown(handed_over, user, user)
    initdb = (str(POSTGRES_BINARIES / "initdb"), "-D", str(folder), "-U", POSTGRES_ADMIN, "-E", "UTF8")
    options = ("--no-locale", "--no-sync", "--auth=scram-sha-256", f"--pwfile={handed_over}")
    try:
        run("initdb", (*as_user(user), *initdb, *options))
    finally:
        handed_over.unlink()


def _forget_dead_server(folder: Path) -> None:
    """Remove the lock file of a server that was killed.

    PostgreSQL takes any process of that pid for its predecessor, also a zombie or a stranger that was given the pid.
    The caller holds the stack's lock, and a server that lives is told by its command line, which names the folder.
    Backends that outlive their server still keep a new one out by the shared memory they hold.
    """
    lock_file = folder / "postmaster.pid"
    try:
        pid = int(lock_file.read_text(encoding="ascii").split()[0])
    except (FileNotFoundError, ValueError, IndexError):
        return
    try:
        command_line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        command_line = b""
    if os.fsencode(folder) not in command_line:
        lock_file.unlink()


def sql(layout: Layout, script: str, database: str = DATABASE) -> str:
    """Run a script as the superuser through psql and return its output, unaligned."""
    password_file = layout.settings / "pgpass"
    if not password_file.exists():
        admin = passwords(layout.secrets, "postgres")[POSTGRES_ADMIN]
        write_private(password_file, f"*:*:*:{POSTGRES_ADMIN}:{admin}\n")
    address = ("-h", LOOPBACK, "-p", str(layout.ports.postgres), "-U", POSTGRES_ADMIN, "-d", database)
    psql = (str(POSTGRES_BINARIES / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *address)
    return run("psql", psql, text=script, environment={"PGPASSFILE": str(password_file), "PGCONNECT_TIMEOUT": "5"})


def part(layout: Layout) -> Part:
    """The server; makes its data folder at the first start."""
    user = server_user("postgres")
    folder = layout.databases / "postgres"
    make_once(folder, user, lambda fresh: _initialise(layout, user, fresh))
    if running_part(layout, "postgres") is None:
        _forget_dead_server(folder)
    places = {
        "port": str(layout.ports.postgres),
        "listen_addresses": LOOPBACK,
        # A socket has a lock file of its own, which a killed server leaves behind too.
        "unix_socket_directories": "",
    }
    options = tuple(word for name, value in {**SETTINGS, **places}.items() for word in ("-c", f"{name}={value}"))

    def lacks() -> str | None:
        try:
            sql(layout, "SELECT 1", "postgres")
        except StackError as failure:
            return str(failure)
        return None

    def settle() -> None:
        script = filled("postgres.sql", passwords(layout.secrets, "postgres"))

        def run_script(text: str) -> None:
            sql(layout, text, "postgres")

        provision_once(layout, "postgres", script, run_script)

    return Part(
        name="postgres",
        ports=(layout.ports.postgres,),
        command=(*as_user(user), str(POSTGRES_BINARIES / "postgres"), "-D", str(folder), *options),
        folder=Path("/"),
        lacks=lacks,
        settle=settle,
        stop_signal=signal.SIGINT,
    )
