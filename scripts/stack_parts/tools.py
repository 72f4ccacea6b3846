"""What is needed of the system: found, or installed where that is allowed, or asked for in plain words."""

import importlib
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stack_parts.failure import StackError
from stack_parts.process import locked

POSTGRES_BINARIES = Path("/usr/lib/postgresql/15/bin")
_SEARCH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"))


@dataclass(frozen=True)
class Tool:
    """A program and the Debian packages that bring it."""

    program: str
    packages: tuple[str, ...]

    def path(self) -> str | None:
        """Where it is, if anywhere."""
        return shutil.which(self.program, path=_SEARCH)


@dataclass(frozen=True)
class Module(Tool):
    """A module of the Python that runs this, which the distribution keeps in a package of its own."""

    def path(self) -> str | None:
        """Where it is, if anywhere."""
        importlib.invalidate_caches()
        found = importlib.util.find_spec(self.program)
        return found.origin if found else None


_JVM = (Tool("java", ("openjdk-17-jre-headless",)), Tool("mvn", ("maven",)))
_SETPRIV = Tool("setpriv", ("util-linux",))
TOOLS = {
    "kafka": _JVM,
    "registry": _JVM,
    "connect-feed": _JVM,
    "connect-pipeline": _JVM,
    # The core packages hold the programs and no service, so nothing of ours starts at boot.
    "mariadb": (
        _SETPRIV,
        Tool("mariadbd", ("mariadb-server-core", "mariadb-client-core")),
        Tool("mariadb-install-db", ("mariadb-server-core",)),
        Tool("mariadb", ("mariadb-client-core",)),
    ),
    "postgres": (
        _SETPRIV,
        Tool(str(POSTGRES_BINARIES / "postgres"), ("postgresql-15", "postgresql-client-15")),
        Tool(str(POSTGRES_BINARIES / "psql"), ("postgresql-client-15",)),
    ),
    # A Python package of the project's own environment.
    "mongodb": (),
}
"""What each part of the stack needs."""


def tools_of(parts: Iterable[str]) -> list[Tool]:
    """What these parts of the stack need, each once."""
    return list(dict.fromkeys(tool for part in parts for tool in TOOLS[part]))


def ensure_tools(lock: Path, tools: Sequence[Tool]) -> list[str]:
    """Install what is missing and return the packages that were installed; raises when that is not allowed."""
    if not (packages := _missing(tools)):
        return []
    wanted = f"apt-get update && apt-get install --no-install-recommends {' '.join(packages)}"
    if os.geteuid() != 0:
        raise StackError(f"programs are missing: {_names(tools)}", f"install them: sudo sh -c '{wanted}'")
    if shutil.which("apt-get") is None:
        raise StackError(
            f"programs are missing: {_names(tools)}", "this system has no apt-get: install them by its own means"
        )
    with locked(lock):
        if not (packages := _missing(tools)):
            return []
        _install(packages, wanted)
    if _missing(tools):
        raise StackError(f"still missing after the install: {_names(tools)}", f"look at the output of: {wanted}")
    return packages


def _missing(tools: Sequence[Tool]) -> list[str]:
    found = [package for tool in tools if tool.path() is None for package in tool.packages]
    return list(dict.fromkeys(found))


def _names(tools: Sequence[Tool]) -> str:
    return ", ".join(tool.program for tool in tools if tool.path() is None)


def _install(packages: list[str], wanted: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-3:]
            raise StackError(f"{' '.join(command)} failed: {' / '.join(last)}", f"run it yourself as root: {wanted}")
    if "postgresql-15" in packages and shutil.which("pg_dropcluster"):
        # The package makes and starts a cluster of its own on port 5432; it was not there before us, so it goes.
        subprocess.run(["pg_dropcluster", "--stop", "15", "main"], capture_output=True, check=False)


def require(program: str) -> str:
    """The path of a program that `ensure_tools` has seen."""
    path = shutil.which(program, path=_SEARCH)
    if path is None:
        raise StackError(f"{program} is not installed", "run scripts/stack up, which installs it or says how")
    return path
