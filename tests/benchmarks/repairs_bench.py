#!/usr/bin/env python3
"""Measure the applier on real databases: repairs per second, alone and many in a transaction, rehearsal off.

    scripts/stack up --name bench-repairs --only postgres --only mariadb
    python tests/benchmarks/repairs_bench.py --stack bench-repairs [--rows 2000] [--rounds 3] [--json FILE]

PostgreSQL is repaired from MariaDB and the other way round: the signature, the ledger, fence, locks, both rows read by
SQL, the write, the row read back, the commit; an insert with the check after it. Kafka is not in it. Told are repairs
a second by the clock (the best round) and microseconds of this process's CPU each (the least). One by one and together
are measured in turns, so that their ratio holds on a machine that is busy with other things. Not a test: machines
differ.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from app.adapters.signing import verify
from app.adapters.verify_ahead import VerifyAhead
from app.applier.apply import Applier
from app.applier.belief import Belief
from app.applier.loop import COMMANDS_AT_ONCE
from app.core.command import Action, Outcome, RepairCommand, command_id
from app.core.digest import keyed_hash
from app.core.guard import Limits
from app.core.store import StoreKind
from tests.contract.row_worlds import (
    COLUMNS,
    DIGEST_KEY,
    ENTITY,
    SCHEMA,
    MariadbWorld,
    PostgresWorld,
    SqlWorld,
    contract,
    key_of,
    settings_of,
)
from tests.seals import SEALS
from tests.signatures import DEPLOYMENT, SIGNERS, signed

PROJECT = Path(__file__).resolve().parents[2]
PARTITIONS = 12
MINUTE_LIMIT = 10**9
AHEAD = VerifyAhead(verify)
BOTH = {StoreKind.POSTGRES: PostgresWorld, StoreKind.MARIADB: MariadbWorld}
OTHER = {StoreKind.POSTGRES: StoreKind.MARIADB, StoreKind.MARIADB: StoreKind.POSTGRES}
SERVERS = {StoreKind.POSTGRES: "postgres", StoreKind.MARIADB: "mariadb"}


@dataclass
class Sides:
    """The target that is repaired, and the authority that it is repaired from."""

    target: SqlWorld
    authority: SqlWorld
    drifts: int = 0

    def fill(self, rows: int, *, missing: bool) -> None:
        """Leave rows in the authority that differ in the target, or that it lacks."""
        for world, word in ((self.target, "wrong"), (self.authority, "right")):
            world.execute(f"DELETE FROM {SCHEMA}.things")  # noqa: S608 - a constant
            if word == "wrong" and missing:
                continue
            names = ", ".join(["id", *(world.quoted(COLUMNS[n]) for n in ("name", "code", "amount"))])
            values = [(n, f"{word} {n}", f"code {n}", f"{n}.25") for n in range(rows)]
            cursor = world.admin.cursor()
            cursor.executemany(f"INSERT INTO {SCHEMA}.things ({names}) VALUES (%s, %s, %s, %s)", values)  # noqa: S608

    def commands(self, rows: int) -> list[tuple[RepairCommand, int]]:
        """Return a signed command for each row, with its partition."""
        agreed = self.target.agreed
        names = [(ENTITY, key_of(n)) for n in range(rows)]
        found = []
        for (entity, key), there, here in zip(
            names, self.authority.store.read(names), self.target.store.read(names), strict=True
        ):
            self.drifts += 1
            finding_id = self.drifts.to_bytes(16, "big")
            key_hash = keyed_hash(DIGEST_KEY, agreed.number, key)
            command = RepairCommand(
                command_id=command_id(finding_id, self.target.settings.name, here.digest, there.digest),
                finding_id=finding_id,
                incident_id=b"",
                entity=entity,
                contract_version=agreed.version,
                authority=agreed.authority,
                target=self.target.settings.name,
                action=Action.UPSERT,
                kind="different",
                sealed_key=SEALS.seal_key(entity, key),
                key_hash=key_hash,
                partition=key_hash[0] % PARTITIONS,
                expected_digest=here.digest,
                intended_digest=there.digest,
                authority_position=b"",
                needs_approval=False,
                reason="",
                expires_at_ms=10**15,
                fence_token=0,
                trace_id=b"t" * 16,
            )
            found.append((signed(command), command.partition))
        return found

    def applier(self, rows_per_transaction: int) -> Applier:
        """Return an applier without budgets."""
        limits = Limits(MINUTE_LIMIT, MINUTE_LIMIT, MINUTE_LIMIT, rows_per_transaction)
        names = (self.target.settings.name, self.authority.settings.name)
        return Applier(
            contracts={ENTITY: self.target.agreed},
            stores=dict(zip(names, (self.target.store, self.authority.store), strict=True)),
            targets=frozenset(names[:1]),
            seals=SEALS,
            belief=Belief(DEPLOYMENT, lambda: SIGNERS, AHEAD, AHEAD.expect),
            words_on=lambda _: (),
            now_wall_ms=lambda: time.time_ns() // 1_000_000,
            limits=limits,
        )


def timed(applier: Applier, commands: Sequence[tuple[RepairCommand, int]]) -> tuple[float, float]:
    """Carry out commands as the loop hands them over; return repairs a second, and CPU microseconds each."""
    began, began_cpu = time.perf_counter(), time.process_time()
    outcomes = []
    for start in range(0, len(commands), COMMANDS_AT_ONCE):
        polled = commands[start : start + COMMANDS_AT_ONCE]
        groups = applier.by_transaction([command for command, _ in polled])
        applier.belief.expect(polled[member][0] for members in groups for member in members)
        for members in groups:
            outcomes += applier.apply_transaction([polled[member] for member in members])
    cpu_us = (time.process_time() - began_cpu) / len(commands) * 1e6
    per_second = len(commands) / (time.perf_counter() - began)
    refused = [outcome for outcome in outcomes if outcome.outcome is not Outcome.APPLIED]
    if refused:
        raise RuntimeError(f"{len(refused)} were not applied, the first for {refused[0].reason}")
    return per_second, cpu_us


def measure(sides: Sides, rows: int, rounds: int, together: int, *, missing: bool) -> dict[str, float]:
    """Return the best of some rounds of both ways, and how many times as fast the second is."""
    alone: list[tuple[float, float]] = []
    many: list[tuple[float, float]] = []
    for _ in range(rounds):
        for each, of, size in ((1, alone, max(1, rows // 10)), (together, many, rows)):
            sides.fill(size, missing=missing)
            of.append(timed(sides.applier(each), sides.commands(size)))
    told = {
        "alone_per_second": max(rate for rate, _ in alone),
        "together_per_second": max(rate for rate, _ in many),
        "alone_cpu_us": min(cpu for _, cpu in alone),
        "together_cpu_us": min(cpu for _, cpu in many),
    }
    told["times"] = told["together_per_second"] / told["alone_per_second"]
    return {name: round(value, 1) for name, value in told.items()}


def sides_of(kind: StoreKind, told: dict[str, Any], folder: Path) -> Sides:
    """Make both tables anew, this kind being the target."""
    agreed = contract(OTHER[kind])
    target, authority = (
        BOTH[each](settings_of(each, told[SERVERS[each]], folder), agreed) for each in (kind, OTHER[kind])
    )
    return Sides(target, authority)


def main() -> None:
    """Enter here from the shell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stack", required=True, help="the name of a running stack with both databases")
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--together", type=int, default=Limits().rows_per_transaction, help="rows in a transaction")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    told = json.loads((PROJECT / ".stack" / arguments.stack / "stack.json").read_text(encoding="utf-8"))
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in BOTH:
            sides = sides_of(kind, told, Path(folder))
            with closing(sides.target), closing(sides.authority):
                for missing in (False, True):
                    name = f"{SERVERS[kind]} {'inserts' if missing else 'updates'}"
                    found[name] = measure(sides, arguments.rows, arguments.rounds, arguments.together, missing=missing)
                    figures = "".join(f"  {figure:22} {value:10.1f}\n" for figure, value in found[name].items())
                    sys.stdout.write(f"{name}\n{figures}")
                    sys.stdout.flush()
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
