"""MariaDB from the distribution's binaries, under an unprivileged user, its clock shifted on request."""

import importlib.util
import os
from pathlib import Path

from stack_parts.database_part import as_user, filled, make_once, owned_folder, provision_once, run
from stack_parts.failure import StackError
from stack_parts.layout import LOOPBACK, PROJECT, Layout, server_user
from stack_parts.part import Part
from stack_parts.secret_files import MARIADB_ADMIN, passwords, write_private
from stack_parts.tools import require

SETTINGS = {
    "server-id": "101",
    "log-bin": "binlog",
    "binlog-format": "ROW",
    "binlog-row-image": "FULL",
    "gtid-strict-mode": "ON",
    # The default, and no dates that a log cannot tell from 1970-01-01.
    "sql-mode": "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION,"
    "NO_ZERO_DATE,NO_ZERO_IN_DATE",
    "character-set-server": "utf8mb4",
    "collation-server": "utf8mb4_bin",
    "default-time-zone": "+00:00",
    "innodb-buffer-pool-size": "256M",
    # Local only: what is committed survives the server's death, not the machine's.
    "innodb-flush-log-at-trx-commit": "2",
    "max-allowed-packet": "64M",
    "performance-schema": "OFF",
    "skip-name-resolve": "ON",
}


def _initialise(user: str | None, folder: Path, temporary: Path) -> None:
    as_who = () if user is None else (f"--user={user}",)
    options = ("--no-defaults", f"--datadir={folder}", "--auth-root-authentication-method=normal", "--skip-test-db")
    own_temporary = (require("env"), f"TMPDIR={temporary}")
    run("mariadb-install-db", (*as_user(user), *own_temporary, require("mariadb-install-db"), *options, *as_who))


def socket_path(layout: Layout) -> Path:
    """The server's Unix socket, in a folder that only its user may enter."""
    return layout.sockets / "mariadb" / "s.sock"


def sql(layout: Layout, script: str, *, as_new: bool = False) -> str:
    """Run a script as root and return its output, tab-separated; a new server knows no password and no TCP root yet."""
    options = layout.settings / "mariadb-admin.cnf"
    if not options.exists():
        admin = passwords(layout.secrets, "mariadb")[MARIADB_ADMIN]
        write_private(options, f"[client]\nuser={MARIADB_ADMIN}\npassword={admin}\n")
    how = f"--defaults-file={options}"
    client = (require("mariadb"), "--no-defaults" if as_new else how, "--connect-timeout=5", "--batch", "-N")
    if as_new:
        place = (f"--socket={socket_path(layout)}", "--protocol=socket", "--user=root")
    else:
        place = (f"--host={LOOPBACK}", f"--port={layout.ports.mariadb}", "--protocol=tcp")
    return run("mariadb", (*client, *place, "--default-character-set=utf8mb4"), text=script)


def faketime_prefix(timestamp_file: Path) -> tuple[str, ...]:
    """The prefix of a command that lets a server read its wall clock through libfaketime from a file such as `+90s`.

    The file may be rewritten while the server runs: its clock follows at once. Monotonic time stays true, or timeouts
    break.
    """
    # By env, so that nothing before the server is preloaded: the library's semaphore belongs to who makes it first.
    return (
        require("env"),
        f"LD_PRELOAD={faketime_library()}",
        f"FAKETIME_TIMESTAMP_FILE={timestamp_file.absolute()}",
        "FAKETIME_NO_CACHE=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
    )


def forget_clocks() -> None:
    """Remove the shared memory that libfaketime leaves behind when a server is killed."""
    for left_over in Path("/dev/shm").glob("*faketime_s[eh]m_*"):  # noqa: S108
        pid = left_over.name.rpartition("_")[2]
        if not Path(f"/proc/{pid}").exists():
            left_over.unlink(missing_ok=True)


def faketime_library() -> Path:
    """Where libfaketime lies: told by a variable, from the PyPI package, or from Debian's."""
    told = os.environ.get("DRIFTLINE_FAKETIME_LIBRARY")
    inside = "libfaketime/vendor/libfaketime/src/libfaketime.so.1"
    places = [Path(told)] if told else []
    places += sorted((PROJECT / ".venv" / "lib").glob(f"python3.*/site-packages/{inside}"))
    spec = importlib.util.find_spec("libfaketime")
    if spec is not None and spec.origin is not None:
        places.append(Path(spec.origin).parents[1] / inside)
    places += sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    for place in places:
        if place.is_file():
            return place
    raise StackError(
        "libfaketime is not there, so MariaDB's clock cannot be shifted",
        "uv pip install libfaketime, or set DRIFTLINE_FAKETIME_LIBRARY to libfaketime.so.1",
    )


def part(layout: Layout, faketime_file: Path | None = None) -> Part:
    """The server; makes its data folder at the first start."""
    user = server_user("mysql", "postgres")
    folder = layout.databases / "mariadb"
    # A server that starts removes what others have left in its folder for temporary tables, or have in use there.
    temporary = owned_folder(layout.databases / "mariadb-tmp", user)
    make_once(folder, user, lambda fresh: _initialise(user, fresh, temporary))
    owned_folder(layout.sockets / "mariadb", user)
    places = {
        "datadir": str(folder),
        "tmpdir": str(temporary),
        "port": str(layout.ports.mariadb),
        "bind-address": LOOPBACK,
        "socket": str(socket_path(layout)),
        "pid-file": str(folder / "mariadbd.pid"),
    }
    options = tuple(f"--{name}={value}" for name, value in {**SETTINGS, **places}.items())
    as_who = () if user is None else (f"--user={user}",)
    clock = () if faketime_file is None else faketime_prefix(faketime_file)

    def lacks() -> str | None:
        try:
            sql(layout, "SELECT 1")
        except StackError as failure:
            if not any(sign in str(failure) for sign in ("Access denied", "is not allowed")):
                return str(failure)
            # A new server knows no password until it is provisioned.
            try:
                sql(layout, "SELECT 1", as_new=True)
            except StackError as still:
                return str(still)
        return None

    def settle() -> None:
        script = filled("mariadb.sql", {"host": LOOPBACK, **passwords(layout.secrets, "mariadb")})

        def run_script(text: str) -> None:
            try:
                sql(layout, "SELECT 1")
            except StackError:
                sql(layout, text, as_new=True)
            else:
                sql(layout, text)

        provision_once(layout, "mariadb", script, run_script)

    return Part(
        name="mariadb",
        ports=(layout.ports.mariadb,),
        command=(*as_user(user), *clock, require("mariadbd"), "--no-defaults", *options, *as_who),
        folder=Path("/"),
        lacks=lacks,
        settle=settle,
    )
