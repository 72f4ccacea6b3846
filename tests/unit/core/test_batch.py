"""The same proposals make the same batches, whoever puts them together; no source transaction is parted."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from app.core.batch import Batch, batch_of, batches_of
from app.core.command import Action, RepairCommand
from app.core.contract import EntityContract, RepairMode, RepairPolicy, Replica
from app.core.limits import BATCH_COMMANDS_MAX, BATCH_GATHERS_MS
from tests.property.applier_world import World

WORLD = World("new", "old")


def contract_of(entity: str, *parents: str) -> EntityContract:
    """Return a contract of an entity with these parents."""
    policy = RepairPolicy(mode=RepairMode.PROPOSE, parents=parents)
    replica = Replica(store="copy", window_ms=3_000, quiet_for_ms=30_000, repair=policy)
    return EntityContract(entity, 1, 1, (), (), "shop", (), (replica,))


CONTRACTS = {
    "customers": contract_of("customers"),
    "orders": contract_of("orders", "customers"),
    "items": contract_of("items", "orders"),
}


def command(entity: str = "orders", at_ms: int = 0, transaction: str = "", **changes: object) -> RepairCommand:
    """Return a proposal of its own."""
    made = replace(WORLD.command("old", "new"), entity=entity, planned_at_ms=at_ms, source_transaction=transaction)
    return replace(made, reason="the policy proposes only", **changes)  # type: ignore[arg-type]  # by name


def batches(*commands: RepairCommand) -> list[Batch]:
    """Put proposals together."""
    return batches_of("d", commands, CONTRACTS)


def test_the_order_in_which_they_are_read_does_not_matter() -> None:
    """Everybody who looks sees the same batches under the same ids."""
    commands = [command("orders", n * 7_001, str(n % 5)) for n in range(40)]
    told = [batch.batch_id for batch in batches(*commands)]
    assert len(told) == 40 * 7_001 // BATCH_GATHERS_MS + 1
    for seed in range(5):
        random.Random(seed).shuffle(commands)  # noqa: S311 - an order to try, no secret
        assert [batch.batch_id for batch in batches(*commands)] == told


@pytest.mark.parametrize(
    "changes",
    [
        {"entity": "items"},
        {"target": "other"},
        {"action": Action.DELETE},
        {"reason": "deletes wait for a person"},
        {"incident_id": b"i" * 16},
        {"planned_at_ms": BATCH_GATHERS_MS},
    ],
)
def test_what_is_not_alike_is_not_answered_together(changes: dict[str, object]) -> None:
    """Another entity, store, action, reason, incident or minute."""
    one = command()
    assert len(batches(one, command())) == 1
    assert len(batches(one, replace(command(), **changes))) == 2  # type: ignore[arg-type]  # by name


def test_an_incident_is_one_batch_whenever_its_rows_were_planned() -> None:
    """A truncated table is read and answered at once."""
    rows = [command(at_ms=n * BATCH_GATHERS_MS, incident_id=b"i" * 16) for n in range(5)]
    assert [len(batch.commands) for batch in batches(*rows)] == [5]


def test_another_content_is_another_batch() -> None:
    """What came, went or changed after it was read is not approved with it."""
    one, other = command(), command()
    both = batch_of("d", [one, other])
    for changed in ([one], [other, one], [one, replace(other, expires_at_ms=1)], [one, other, command()]):
        assert batch_of("d", changed).batch_id != both.batch_id
    assert batch_of("other", [one, other]).batch_id != both.batch_id


def test_parents_are_written_first_and_deleted_last() -> None:
    """By the policies' `parents`, over generations."""
    writes = [command(entity) for entity in ("items", "orders", "customers")]
    deletes = [command(entity, action=Action.DELETE) for entity in ("customers", "orders", "items")]
    assert [(b.first.entity, b.first.action.value) for b in batches(*writes, *deletes)] == [
        ("customers", "upsert"),
        ("orders", "upsert"),
        ("items", "upsert"),
        ("items", "delete"),
        ("orders", "delete"),
        ("customers", "delete"),
    ]


def test_rows_of_one_source_transaction_stay_together() -> None:
    """Where a group is too large it is parted between transactions; only one larger than a batch is cut."""
    alone = [command(at_ms=n, transaction="") for n in range(BATCH_COMMANDS_MAX - 10)]
    together = [command(at_ms=5_000 + n, transaction="77") for n in range(20)]
    parted = batches(*alone, *together)
    assert [len(batch.commands) for batch in parted] == [BATCH_COMMANDS_MAX - 10, 20]
    assert {c.source_transaction for c in parted[1].commands} == {"77"}
    huge = [command(at_ms=n, transaction="78") for n in range(BATCH_COMMANDS_MAX + 1)]
    assert [len(batch.commands) for batch in batches(*huge)] == [BATCH_COMMANDS_MAX, 1]


def test_a_batch_says_what_is_in_it() -> None:
    """Kinds and fields with their numbers, transactions, and its times."""
    rows = [
        command(kind="stale", columns=("note", "amount"), transaction="1", expires_at_ms=500),
        command(kind="stale", columns=("note",), transaction="2", at_ms=10),
        command(kind="different", columns=("note",)),
    ]
    (batch,) = batches(*rows)
    assert (batch.kinds, batch.columns) == ({"stale": 2, "different": 1}, {"note": 3, "amount": 1})
    assert (batch.transactions, batch.expires_at_ms, batch.gathers_until_ms) == (2, 500, BATCH_GATHERS_MS)
