"""The drill's deployment: one table in both databases, filled before the connectors see it, its contract and settings.

Both tables are filled by the databases themselves, with the same values. `visits` and `note` stand in no contract.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from demo_parts.connect import Connect, ConnectRefused
from demo_parts.pipeline import await_condition
from demo_parts.places import PROJECT, Places
from demo_parts.processes import Processes
from demo_parts.sides import Kind, Side
from stack_parts import commands, connectors
from stack_parts.part import running_part
from stack_parts.progress import Progress

from sweep_drill.damages import COLUMNS, STORES

NAME: Final = "sweep"
ENTITY: Final = "wares"
TABLES: Final = {"pg": f"public.{ENTITY}", "my": f"shop.{ENTITY}"}
CONDUCTOR: Final = "conductor"
_NOT_NEEDED: Final = ("registry", "connect-pipeline")
_NOT_THE_STORES: Final = ("kafka", "connect-feed")
_GIVES_WAY: Final = 10
"""The niceness of what gives way."""
_CONTRACT: Final = """
entity: wares
version: 1
authority: {store: pg, table: public.wares}
replicas: [{store: my, table: shop.wares, window_ms: 5000}]
key: {id: {type: int64}}
fields:
  name: {type: string}
  price: {type: decimal, scale: 2}
  quantity: {type: int64}
  paid: {type: bool}
  bought_at: {type: instant}
"""
_TABLE: Final = {
    Kind.POSTGRES: (
        "CREATE TABLE {table} (id bigint PRIMARY KEY, name text, price numeric(12,2), quantity bigint, paid boolean,"
        " bought_at timestamptz, visits integer NOT NULL DEFAULT 0, note text)"
    ),
    Kind.MARIADB: (
        "CREATE TABLE {table} (id bigint PRIMARY KEY, name varchar(60), price decimal(12,2), quantity bigint,"
        " paid boolean, bought_at datetime(6), visits integer NOT NULL DEFAULT 0, note varchar(60)) ENGINE = InnoDB"
    ),
}
_FILL: Final = (
    "INSERT INTO {table} (id, {columns}, note) SELECT 2 * n, concat('ware ', n), (n * 37 % 1000000) * 0.01, n % 1000,"
    " n % 3 = 0, {time}, repeat('n', 60) FROM {numbers}"
)
_TIME: Final = {
    Kind.POSTGRES: "timestamptz '2026-01-01 00:00:00+00' + n * interval '1 second'",
    Kind.MARIADB: "timestamp '2026-01-01 00:00:00' + interval n second",
}
_NUMBERS: Final = {
    Kind.POSTGRES: "generate_series({first}::bigint, {last}) AS n",
    Kind.MARIADB: "(SELECT seq AS n FROM seq_{first}_to_{last}) AS numbers",
}
_FILLED_AT_ONCE: Final = 100_000
_ROLES: Final = ("beacon", "read", "conduct")
_STARTS_S: Final = 60.0


@dataclass
class Deployment:
    """Files, servers and processes of one drill."""

    folder: Path
    places: Places
    processes: Processes = field(init=False)
    _prefix: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.processes = Processes(self.folder)

    @classmethod
    def started(cls, folder: Path, stack: str, base_port: int | None) -> Deployment:
        """Start fresh servers; what an earlier drill left is another deployment's."""
        commands.wipe(stack, quiet=True)
        commands.up(stack, base_port, without=_NOT_NEEDED, quiet=True)
        return cls(folder, Places.of(stack))

    @property
    def config(self) -> Path:
        """The file of settings."""
        return self.folder / "driftline.yaml"

    def side(self, store: str) -> Side:
        """Return a store's database, spoken to as its application does."""
        return self.places.side(STORES[store])

    def admin(self, store: str) -> Side:
        """Return a store's database, spoken to as its administrator."""
        return self.places.admin(STORES[store])

    def change_topic(self, store: str) -> str:
        """Return the topic of the table's changes."""
        return f"{store}.{TABLES[store]}"

    def topic(self, dataset: str) -> str:
        """Return the name of a published topic."""
        return f"{NAME}.{dataset}.v1"

    # -- tables ---------------------------------------------------------------------------------------------------

    def make_tables(self, rows: int) -> None:
        """Make and fill the table in both stores."""
        for store, kind in STORES.items():
            side, table = self.side(store), TABLES[store]
            side.execute(_TABLE[kind].format(table=table))
            for first in range(1, rows + 1, _FILLED_AT_ONCE):
                numbers = _NUMBERS[kind].format(first=first, last=min(rows, first + _FILLED_AT_ONCE - 1))
                columns = ", ".join(COLUMNS)
                side.execute(_FILL.format(table=table, columns=columns, time=_TIME[kind], numbers=numbers))
            side.execute(f"ANALYZE {'' if kind is Kind.POSTGRES else 'TABLE '}{table}")

    # -- the product ----------------------------------------------------------------------------------------------

    def write_files(self) -> None:
        """Write settings, passwords and the contract."""
        keys = self.folder / "keys"
        keys.mkdir(mode=0o700)
        for store in STORES:
            for role in _ROLES:
                file = keys / f"{store}-{role}"
                file.touch(mode=0o600)
                file.write_text(secrets.token_hex(16), encoding="ascii")
        settings = {
            "deployment": NAME,
            "bootstrap": self.places.bootstrap,
            "keys_dir": "keys",
            "state_dir": "state",
            "contracts_dir": "contracts",
            "placeholder_file": str(self.places.told["placeholder_file"]),
            "stores": {store: self._store(store) for store in STORES},
            "worker": {"http_port": self.places.base_port + 8},
            "connect": {"url": self.places.feed},
        }
        self.config.write_text(json.dumps(settings), encoding="ascii")
        (self.folder / "contracts").mkdir()
        (self.folder / "contracts" / f"{ENTITY}.yaml").write_text(_CONTRACT, encoding="ascii")

    def _store(self, store: str) -> dict[str, Any]:
        kind = STORES[store]
        server = self.places.told[kind.value]
        own = {
            role: {"user": f"driftline_{role}", "password_file": str(self.folder / "keys" / f"{store}-{role}")}
            for role in _ROLES
        }
        admin = server["roles"]["postgres" if kind is Kind.POSTGRES else "root"]
        return {
            "kind": kind.value,
            "topic_prefix": store,
            "converter": "json",
            "connector": f"{kind.value}-source",
            "host": server["host"],
            "port": server["port"],
            "database": server["database"],
            "roles": {"admin": admin, "capture": server["roles"]["cdc_feed"], **own},
        }

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of one of the product's commands."""
        return [sys.executable, "-m", "app", "--config", str(self.config), *arguments]

    def ask(self, *arguments: str) -> tuple[int, str]:
        """Run a command of the product to its end; return its exit code and what it told."""
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=120, check=False, cwd=PROJECT
        )
        return done.returncode, done.stdout if done.returncode in {0, 1, 3} else done.stderr[-1_500:]

    def begin(self, chunk_rows: int, seconds: float) -> None:
        """Start the product and the connectors' first snapshots, and wait until both stores are proven."""
        code, said = self.ask("init", "--yes")
        if code:
            raise RuntimeError(f"driftline init ended with {code}: {said}")
        for name in ("beacon", "worker"):
            self._start(name)
        connectors.apply(
            commands.existing(self.places.name),
            connectors.FEED,
            Progress(quiet=True),
            wait=False,
            changes={"incremental.snapshot.chunk.size": str(chunk_rows)},
        )
        await_condition(self._is_proven, seconds, "both stores to be proven", every=5.0)

    def _start(self, name: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.processes.start(name, [*self._prefix, *self.command(name, *arguments)], environment)

    def give_way(self) -> None:
        """Let broker, Connect and Driftline run at a lower priority: elsewhere they are on other machines."""
        layout = commands.existing(self.places.name)
        parts = [process for part in _NOT_THE_STORES if (process := running_part(layout, part))]
        for pid in (*(part.pid for part in parts), *map(self.processes.pid, self.processes.names())):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                    os.setpriority(os.PRIO_PROCESS, int(thread.name), _GIVES_WAY)
        self._prefix = ("nice", "-n", str(_GIVES_WAY))

    def _is_proven(self) -> bool:
        self.processes.check()
        code, _ = self.ask("status")
        if code:
            feed = Connect(self.places.feed)
            with contextlib.suppress(ConnectRefused):  # not there yet
                if failed := {name: why for name in connectors.FEED if (why := feed.failure(name))}:
                    raise RuntimeError(f"a connector has failed: {failed}")
        return code == 0

    def start_conductor(self, **settings: int) -> None:
        """Start it, and wait until it has read a slice of both stores again; settings are its own, by name."""
        port = str(self.places.base_port + 9)
        environment = {f"DRIFTLINE_CONDUCTOR_{name.upper()}": str(value) for name, value in settings.items()}
        self._start(CONDUCTOR, "--http-port", port, environment=environment)

    def await_slices(self) -> None:
        """Wait until the conductor has had a slice of each store read since it was started."""
        await_condition(lambda: set(STORES) <= self._stores_read(), _STARTS_S, "the first slices", every=0.5)

    def _stores_read(self) -> set[str]:
        self.processes.check()
        page = f"http://127.0.0.1:{self.places.base_port + 9}/metrics"
        try:
            with urllib.request.urlopen(page, timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return set()
        counted = [line for line in lines if line.startswith("driftline_rows_reread_total{")]
        return {
            store for store in STORES for line in counted if f'store="{store}"' in line and not line.endswith(" 0.0")
        }

    def end_conductor(self) -> None:
        """Ask it to end, as its operator would."""
        self.processes.end(CONDUCTOR)

    def passes(self) -> dict[str, int]:
        """Return how many passes over the table have ended in each store, by the product's own word."""
        _, said = self.ask("-o", "jsonl", "status")
        rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        rereads: list[dict[str, Any]] = next((row["rereads"] for row in rows if "rereads" in row), [])
        return {row["store"]: row["passes"] for row in rereads}

    def end(self) -> None:
        """End all processes."""
        self.processes.end_all()
