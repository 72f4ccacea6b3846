"""The demo's deployment of Driftline: settings, passwords and contracts, written where the stack's own files lie."""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from demo_parts.places import PROJECT, Places
from demo_parts.sides import Kind

DEPLOYMENT = "demo"
STORES = {Kind.POSTGRES: ("pg", "pg"), Kind.MARIADB: ("my", "my")}
"""Name of the store and prefix of its topics."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where the deployment's files are, and how its commands are called."""

    places: Places
    reversed: bool
    window_s: float | None

    @property
    def settings(self) -> Path:
        """The file `driftline.yaml`."""
        return self.places.folder / "driftline.yaml"

    @property
    def keys(self) -> Path:
        """The folder of the deployment's keys and passwords."""
        return self.places.folder / "keys"

    @property
    def approver_key(self) -> Path:
        """The private key of the person who approves."""
        return self.keys / "approver.key"

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of one of the product's commands."""
        return [sys.executable, "-m", "app", "--config", str(self.settings), *arguments]

    def topic(self, dataset: str) -> str:
        """Return the name of a published topic."""
        return f"{DEPLOYMENT}.{dataset}.v1"

    def write(self) -> None:
        """Write settings and contracts; passwords are made once."""
        self.keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        told = {
            "deployment": DEPLOYMENT,
            "bootstrap": self.places.bootstrap,
            "registry_url": self.places.registry,
            "keys_dir": str(self.keys),
            "approver_key_file": str(self.approver_key),
            "state_dir": str(self.places.folder / "state"),
            "contracts_dir": str(self.places.folder / "contracts"),
            "placeholder_file": str(self.places.told["placeholder_file"]),
            "stores": {STORES[kind][0]: self._store(kind) for kind in Kind},
            "worker": {"http_port": self.places.base_port + 8},
            "applier": {"http_port": self.places.base_port + 9},
            "connect": {"url": self.places.feed},
        }
        self.settings.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        self._write_contracts()

    def _store(self, kind: Kind) -> dict[str, object]:
        server = self.places.told[kind.value]
        admin = "postgres" if kind is Kind.POSTGRES else "root"
        return {
            "kind": kind.value,
            "topic_prefix": STORES[kind][1],
            "converter": "json",
            "connector": f"{kind.value}-source",
            "host": server["host"],
            "port": server["port"],
            "database": server["database"],
            "roles": {
                "admin": server["roles"][admin],
                "capture": server["roles"]["cdc_feed"],
                **{role: self._login(kind, role) for role in ("beacon", "read", "apply", "conduct")},
            },
        }

    def _login(self, kind: Kind, role: str) -> dict[str, str]:
        file = self.keys / f"{kind.value}-{role}"
        if not file.exists():
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
                stream.write(secrets.token_hex(16))
        return {"user": f"driftline_{role}", "password_file": str(file)}

    def _write_contracts(self) -> None:
        folder = self.places.folder / "contracts"
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.yaml"):
            old.unlink()
        shipped = PROJECT / "schemas" / "contracts" / ("demo_reversed" if self.reversed else "demo")
        for contract in sorted(shipped.glob("*.yaml")):
            text = contract.read_text(encoding="utf-8")
            if self.window_s is not None:
                # A table that needs a wider window keeps it.
                text = re.sub(r"\bwindow_ms: 10000\b", f"window_ms: {self.window_s * 1000:.0f}", text)
            (folder / contract.name).write_text(text, encoding="utf-8")
