"""Where things are: the stack's own description, turned into databases, addresses and folders."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo_parts.sides import Kind, Side

PROJECT = Path(__file__).resolve().parents[2]
STACK = PROJECT / "scripts" / "stack"


@dataclass(frozen=True, slots=True)
class Places:
    """One stack, as `scripts/stack` describes it."""

    name: str
    told: dict[str, Any]

    @classmethod
    def of(cls, name: str) -> Places:
        """Read the description that the stack left when it was started."""
        told = json.loads((PROJECT / ".stack" / name / "stack.json").read_text(encoding="ascii"))
        return cls(name, told)

    @property
    def folder(self) -> Path:
        """Where this deployment's files lie; wiped with the stack."""
        return Path(self.told["folder"]) / "driftline"

    @property
    def bootstrap(self) -> str:
        """Kafka."""
        return str(self.told["kafka"]["bootstrap"])

    @property
    def registry(self) -> str:
        """The schema registry."""
        return str(self.told["registry"]["url"])

    @property
    def feed(self) -> str:
        """The Connect worker that feeds Driftline."""
        return str(self.told["connect"]["feed"])

    @property
    def pipeline(self) -> str:
        """The Connect worker of the pipeline that copies data."""
        return str(self.told["connect"]["pipeline"])

    @property
    def base_port(self) -> int:
        """The first of the stack's ports; the product's own listeners follow them."""
        return int(self.told["base_port"])

    def side(self, kind: Kind, role: str = "shop_owner") -> Side:
        """Return one database, spoken to in the name of a role."""
        server = self.told[kind.value]
        login = server["roles"][role]
        return Side(
            kind,
            server["host"],
            int(server["port"]),
            login["user"],
            self.secret(login["password_file"]),
            server["database"],
        )

    def admin(self, kind: Kind) -> Side:
        """Return one database, spoken to as its administrator."""
        return self.side(kind, "postgres" if kind is Kind.POSTGRES else "root")

    @staticmethod
    def secret(file: str) -> str:
        """Return what a file of the stack's secrets holds."""
        return Path(file).read_text(encoding="utf-8").strip()
