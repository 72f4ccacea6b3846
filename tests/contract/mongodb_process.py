"""A server of MongoDB's protocol for tests: a process of its own, which asks for logins.

It is not MongoDB's own server, which comes by no registry: what differs is told where a test meets it.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

ADMIN = "admin"
WORD = "a test's 'admin' word"
_STARTS_S = 30


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server listens."""

    host: str
    port: int

    def admin(self, **options: Any) -> MongoClient[dict[str, Any]]:  # noqa: ANN401 - the driver's own
        """Connect as the administrator."""
        return MongoClient(self.host, self.port, username=ADMIN, password=WORD, authSource=ADMIN, **options)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def _process(folder: Path, *options: str) -> Iterator[Server]:
    server = Server("127.0.0.1", _free_port())
    told = ["--host", server.host, "--port", str(server.port), "--storage-path", str(folder), "--log-level", "ERROR"]
    process = subprocess.Popen(
        [sys.executable, "-m", "secantus", *told, *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
    )
    try:
        deadline = time.monotonic() + _STARTS_S
        with MongoClient[dict[str, Any]](server.host, server.port, serverSelectionTimeoutMS=500) as client:
            while True:
                try:
                    client.admin.command("hello")
                    break
                except PyMongoError:
                    assert process.poll() is None, "the server has ended"
                    assert time.monotonic() < deadline, "the server does not start"
        yield server
    finally:
        process.terminate()
        process.wait(_STARTS_S)


@contextmanager
def running_standalone(folder: Path) -> Iterator[Server]:
    """Run a server that asks for no login and is no member of a replica set."""
    with _process(folder, "--standalone") as server:
        yield server


@contextmanager
def running_server(folder: Path) -> Iterator[Server]:
    """Run a server whose only login is the administrator's: made before it asks for any."""
    with _process(folder) as server, MongoClient[dict[str, Any]](server.host, server.port) as client:
        client.admin.command("createUser", ADMIN, pwd=WORD, roles=["root"])
    with _process(folder, "--auth") as server:
        yield server
