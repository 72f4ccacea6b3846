"""Where everything of one stack lies: ports from one base, folders under `.stack/NAME`, nothing else to configure."""

import hashlib
import os
import pwd
import re
from dataclasses import dataclass
from pathlib import Path

from stack_parts.failure import StackError

PROJECT = Path(__file__).resolve().parents[2]
DEFAULT_NAME = "demo"
DEFAULT_BASE_PORT = 29092
PORTS_PER_STACK = 10
# Two stacks whose bases lie this far apart never meet.
PORT_STEP = 10
LOOPBACK = "127.0.0.1"
# A Unix socket's path holds at most 107 bytes; what is put into the folder is short.
SOCKET_FOLDER_BYTES_MAX = 107 - len("/mariadb/s.sock")


@dataclass(frozen=True)
class Ports:
    """Every port of a stack, counted from its base."""

    base: int

    def __post_init__(self) -> None:
        if not 1024 <= self.base <= 65535 - PORTS_PER_STACK:  # noqa: PLR2004
            raise StackError(
                f"base port {self.base} is out of range",
                f"choose one between 1024 and {65535 - PORTS_PER_STACK}, best below the ephemeral range (32768)",
            )

    @property
    def kafka(self) -> int:
        """The broker's listener."""
        return self.base

    @property
    def controller(self) -> int:
        """The KRaft controller's listener."""
        return self.base + 1

    @property
    def feed(self) -> int:
        """REST of the Connect worker that feeds Driftline."""
        return self.base + 2

    @property
    def pipeline(self) -> int:
        """REST of the Connect worker that copies data between the databases."""
        return self.base + 3

    @property
    def registry(self) -> int:
        """The schema registry."""
        return self.base + 4

    @property
    def registry_management(self) -> int:
        """The registry's health port, which would listen on all interfaces if left alone."""
        return self.base + 5

    @property
    def postgres(self) -> int:
        """PostgreSQL."""
        return self.base + 6

    @property
    def mariadb(self) -> int:
        """MariaDB."""
        return self.base + 7

    @property
    def mongodb(self) -> int:
        """The server of MongoDB's protocol; the port between is that of the containers' MySQL."""
        return self.base + 9


@dataclass(frozen=True)
class Layout:
    """The folders of one stack."""

    name: str
    ports: Ports

    @property
    def folder(self) -> Path:
        """Everything of this stack that can be wiped."""
        return stack_folder(self.name)

    @property
    def secrets(self) -> Path:
        """Passwords, mode 700."""
        return self.folder / "secrets"

    @property
    def records(self) -> Path:
        """One file per running process: pid and start time."""
        return self.folder / "run"

    @property
    def logs(self) -> Path:
        """One log per part."""
        return self.folder / "logs"

    @property
    def settings(self) -> Path:
        """Generated configuration files of the parts."""
        return self.folder / "etc"

    @property
    def kafka_data(self) -> Path:
        """The broker's log directory."""
        return self.folder / "data" / "kafka"

    @property
    def registry_data(self) -> Path:
        """The registry's database file."""
        return self.folder / "data" / "registry"

    @property
    def databases(self) -> Path:
        """Data folders of the database servers, which may run as another user than ours."""
        own = self.folder / "data"
        return own if os.geteuid() != 0 or reachable_by_others(own) else elsewhere("/var/tmp", self.folder)  # noqa: S108

    @property
    def sockets(self) -> Path:
        """Where MariaDB puts its Unix socket."""
        own = self.databases / "sockets"
        return own if len(os.fsencode(own)) <= SOCKET_FOLDER_BYTES_MAX else elsewhere("/tmp", self.folder)  # noqa: S108


def stacks_folder() -> Path:
    """The folder of all stacks and of the cached jars."""
    return PROJECT / ".stack"


def stack_folder(name: str) -> Path:
    """The folder of the stack of this name; refuses names that could leave it."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,30}", name) or name == "cache":
        raise StackError(
            f"{name!r} is no name for a stack",
            "use up to 31 lower-case letters, digits, '-' or '_'; 'cache' is taken by the jars",
        )
    return stacks_folder() / name


def elsewhere(root: str, folder: Path) -> Path:
    """A folder under `root` that belongs to exactly this stack, for paths too deep or too private for a server."""
    return Path(root) / f"driftline-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"


def reachable_by_others(folder: Path) -> bool:
    """Whether a server under another user may walk down to `folder`; parts that do not exist yet will be made so."""
    return all(parent.stat().st_mode & 0o001 for parent in folder.parents if parent.exists())


def server_user(*candidates: str) -> str | None:
    """The unprivileged user to run a database server as, or None when we are unprivileged ourselves."""
    if os.geteuid() != 0:
        return None
    for candidate in (*candidates, "nobody"):
        try:
            return pwd.getpwnam(candidate).pw_name
        except KeyError:
            continue
    raise StackError(
        "no unprivileged user to run the databases as", "run as an ordinary user, or add one named postgres"
    )
