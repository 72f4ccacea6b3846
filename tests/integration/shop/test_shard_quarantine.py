"""A shard under quarantine and a rehearsal, by the commands that a person has, on the whole system."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from demo_parts.pipeline import await_condition
from demo_parts.running import CommandFailed, Running

pytestmark = [pytest.mark.stack, pytest.mark.own_stack]

ENVIRONMENT = {"DRIFTLINE_CONDUCTOR_PASS_INTERVAL_S": "20", "DRIFTLINE_CONDUCTOR_ROWS_PER_S": "2000"}
ELSEWHERE = range(31, 46)
"""Customers of whom some are in another shard than the first."""


def lines(running: Running, *arguments: str) -> list[dict[str, Any]]:
    """Return what a reading command prints as JSON lines, whatever its exit code says of the stores."""
    command = running.deployment.command("-o", "jsonl", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def soon(claim: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Wait for something that the system does by itself."""
    await_condition(claim, seconds, what, every=1.0)


def open_drifts(running: Running) -> dict[str, int]:
    """Return how many customers of the copy drift, by kind."""
    rows = (row for row in lines(running, "status") if row.get("entity") == "customers" and row["role"] == "replica")
    drifts: dict[str, int] = next(rows)["open_drifts"]
    return drifts


@dataclass
class Shard:
    """The customers' rows that are in one shard with the first of them, and how they stand in the copy."""

    running: Running
    name: str
    first: int
    other: int
    """A customer of another shard."""

    def damage(self, customer: int, name: str) -> None:
        """Change a row of the copy behind the pipeline's back."""
        self.running.shop.copy.run_all([f"UPDATE customers SET name = '{name}' WHERE id = {customer}"])  # noqa: S608

    def is_right(self, customer: int) -> bool:
        """Tell whether the copy has the row as the origin has it."""
        shop, query = self.running.shop, f"SELECT name FROM customers WHERE id = {customer}"  # noqa: S608
        return shop.origin.one(query) == shop.copy.one(query)


@pytest.fixture(scope="module")
def shard(running: Running) -> Shard:
    """Find a customer of one shard and one of another, by damages that are repaired at once; and read tables again."""
    if "conductor" not in running.processes.names():
        running.processes.start("conductor", running.deployment.command("conductor"), ENVIRONMENT)
    # Which shard a customer is in is drawn by each deployment's own key: a drift of another one may stand in any.
    soon(lambda: not open_drifts(running), "customers that all agree")
    copy = running.shop.copy
    copy.run_all([f"UPDATE customers SET name = 'found {n}' WHERE id = {n}" for n in ELSEWHERE])  # noqa: S608
    probe = Shard(running, "", 0, 0)
    soon(lambda: all(probe.is_right(n) for n in ELSEWHERE), "the first repairs")
    partitions = {
        int(drift["key"]): drift["partition"]
        for drift in lines(running, "drifts", "--keys", "--entity", "customers")
        if drift["key"].isdigit() and int(drift["key"]) in ELSEWHERE
    }
    first = min(partitions)
    other = next(n for n in sorted(partitions) if partitions[n] != partitions[first])
    return Shard(running, f"customers/my/{partitions[first]}", first, other)


def test_a_quarantined_shard_is_repaired_by_a_person_alone_until_it_was_revalidated(shard: Shard) -> None:
    """Its drift is held and listed, other shards go on; the approver's word is refused before the tables were read."""
    running = shard.running
    running.run("pause", "--shard", shard.name, "--why", "it looks odd")
    shard.damage(shard.first, "held")
    shard.damage(shard.other, "not held")
    soon(lambda: shard.is_right(shard.other), "the repair in another shard")
    (standing,) = quarantined(running)
    assert standing["shard"] == shard.name
    assert standing["missing"]
    with pytest.raises(CommandFailed, match="was not revalidated"):
        running.run("resume", "--shard", shard.name)
    soon(lambda: bool(held_commands(running, shard)), "the held repair among the batches")
    assert not shard.is_right(shard.first)
    running.approve([bytes.fromhex(command) for command in held_commands(running, shard)])
    soon(lambda: shard.is_right(shard.first), "the repair that a person has approved")

    missing: list[list[str]] = []

    def revalidated() -> bool:
        running.check()
        missing[:] = [row["missing"] for row in quarantined(running)]
        return missing == [[]]

    try:
        soon(revalidated, "two tables that were read again", 240)
    except TimeoutError:
        pytest.fail(f"not revalidated: the shard lacks {missing}; {lines(running, 'status')}")
    running.run("resume", "--shard", shard.name)
    shard.damage(shard.first, "not held any more")
    soon(lambda: shard.is_right(shard.first), "the repair after the quarantine")


def quarantined(running: Running) -> list[dict[str, Any]]:
    """Return the shards in which repairs stand, each with what it lacks."""
    rows: list[dict[str, Any]] = next(
        (row["quarantined"] for row in lines(running, "status") if "quarantined" in row), []
    )
    return rows


def held_commands(running: Running, shard: Shard) -> list[str]:
    """Return the commands on the first customer that wait for a person."""
    return [
        command
        for batch in lines(running, "batches", "--entity", "customers")
        if str(shard.first) in batch["sample_keys"]
        for command in batch["commands"]
    ]


def test_a_batch_is_tried_without_a_trace_and_then_approved(shard: Shard) -> None:
    """A row too many in the copy waits for a person, who has its delete rehearsed, reads the result, and says yes."""
    running, copy, extra = shard.running, shard.running.shop.copy, 9_201
    copy.run_all([f"INSERT INTO customers SELECT {extra}, 'x@x', 'x', city, vip, created_at FROM customers LIMIT 1"])  # noqa: S608

    def batches() -> list[dict[str, Any]]:
        found = lines(running, "batches", "--entity", "customers")
        return [batch for batch in found if batch["sample_keys"] == [str(extra)] and not batch["is_gathering"]]

    soon(lambda: len(batches()) == 1, "a batch of one delete")
    (batch,) = batches()
    assert batch["effect"].startswith("deletes 1 of ")
    assert batch["rehearsed"] == {}
    running.run("rehearse", batch["batch"], patience_s=120)
    there = f"SELECT count(*) FROM customers WHERE id = {extra}"  # noqa: S608
    assert copy.one(there) == (1,)
    (tried,) = batches()
    assert tried["rehearsed"]["tried"] == tried["rehearsed"]["would_write"] == 1
    running.run("approve", batch["batch"], "--yes", "--why", "the test planted it")
    soon(lambda: copy.one(there) == (0,), "the delete")
