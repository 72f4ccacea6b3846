"""A deployment of a test's own on the shared stack: its settings' file, its connectors and the product's processes."""

from __future__ import annotations

import contextlib
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_S = 150.0


@dataclass
class OwnDeployment:
    """A deployment under a name that nobody else has; `told` is what the stack tells of its servers."""

    folder: Path
    told: dict[str, Any]
    name: str = field(default_factory=lambda: f"cn{secrets.token_hex(4)}")

    @property
    def settings(self) -> Path:
        """The settings' file."""
        return self.folder / "driftline.yaml"

    def store(self, store: str, kind: str, admin: str, own: Sequence[str]) -> dict[str, Any]:
        """Return a store's settings; `own` are the roles whose logins `driftline init` is to make."""
        server = self.told[kind]
        logins = {role: {"user": f"{self.name}_{role}", "password_file": f"keys/{store}-{role}"} for role in own}
        return {
            "kind": kind,
            "topic_prefix": self.name + store,
            "converter": "json",
            "host": server["host"],
            "port": server["port"],
            "database": server["database"],
            "schema": self.name,
            "roles": {"admin": server["roles"][admin], "capture": server["roles"]["cdc_feed"], **logins},
        }

    def connector_url(self, store: str) -> str:
        """Return where Connect tells of a store's connector."""
        return f"{self.told['connect']['feed']}/connectors/{self.name}{store}"

    def connect(self, store: str, config: Mapping[str, str]) -> None:
        """Create the connector, and wait until its task runs."""
        url = self.connector_url(store)
        httpx.put(f"{url}/config", json=dict(config), timeout=30).raise_for_status()
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            status = httpx.get(f"{url}/status", timeout=30)
            tasks = status.json().get("tasks", []) if status.status_code == httpx.codes.OK else []
            if tasks and tasks[0]["state"] == "RUNNING":
                return
            assert not (tasks and tasks[0]["state"] == "FAILED"), tasks[0]["trace"][:2000]
            time.sleep(0.2)
        pytest.fail(f"the connector of {store} did not start")

    @contextlib.contextmanager
    def running(self, command: str) -> Iterator[None]:
        """Run one of the product's processes; it must end with 0 when it is told to."""
        with self.log_of(command).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "app", "--config", str(self.settings), command],
                cwd=PROJECT,
                stdout=log,
                stderr=log,
            )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            finally:
                process.kill()
        assert process.returncode == 0, self.log_of(command).read_text()[-3000:]

    def log_of(self, command: str) -> Path:
        """Return where a process writes its log."""
        return self.folder / f"{command}.log"

    def await_said(self, command: str, what: str) -> None:
        """Wait until a process has said something in its log."""
        until = time.monotonic() + PATIENCE_S
        while what not in self.log_of(command).read_text():
            assert time.monotonic() < until, f"{command} never said: {what}"
            time.sleep(0.1)
