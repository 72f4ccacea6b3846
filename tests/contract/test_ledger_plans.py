"""How the databases find what the applier asks of a ledger that was filled since anybody analysed it.

By an index, and by the right one: what reads all of an hour, or each row of a minute, takes longer than the writing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from app.core.digest import keyed_hash
from app.core.store import StoreKind
from tests.contract.row_worlds import DIGEST_KEY, ENTITY, SqlWorld, key_of, sql_world
from tests.contract.test_rows import NOW_MS, ledger_row
from tests.integration.running_stack import running_stack

pytestmark = pytest.mark.stack

ROWS, ASKED = 4_000, 200


@pytest.fixture(params=["postgres", "mariadb"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlWorld]:
    """Yield a store whose ledger holds some thousand rows of the last minute."""
    made = sql_world(StoreKind(request.param), running_stack(request.param)[request.param], tmp_path)
    rows = [
        replace(ledger_row(), row_id=name, original_id=name, key_hash=name, written_at_ms=NOW_MS)
        for name in map(name_of, range(ROWS))
    ]
    for at in range(0, ROWS, ASKED):
        made.store.record_alone(rows[at : at + ASKED])
    yield made
    made.close()


def name_of(number: int) -> bytes:
    """Return an id as random as those of commands and rows."""
    return keyed_hash(DIGEST_KEY, 0, key_of(number))


def plan(world: SqlWorld, text: str, parameters: Sequence[object]) -> list[dict[str, Any]]:
    """Return the nodes of a statement's plan, in the session that the applier writes in."""
    writer = world.sql.writing()
    cursor = writer.cursor()
    try:
        if world.settings.kind is StoreKind.POSTGRES:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {text}", parameters)
            ((found,),) = cursor.fetchall()
            left, nodes = [found[0]["Plan"]], []
            while left:
                nodes.append(left.pop())
                left += nodes[-1].get("Plans", [])
            return nodes
        cursor.execute(f"EXPLAIN {text}", parameters)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    finally:
        writer.rollback()


def indexes(nodes: Sequence[dict[str, Any]]) -> set[str]:
    """Return the indexes that a plan uses; "" is a table that is read whole."""
    if "Node Type" in nodes[0]:
        scans = [node for node in nodes if "Scan" in node["Node Type"]]
        assert scans
        return {node.get("Index Name", "") for node in scans if node["Node Type"] != "Bitmap Heap Scan"}
    return {node["key"] or "" for node in nodes}


def extras(node: dict[str, Any]) -> list[str]:
    """Return what MariaDB says besides: "Using index condition" is not "Using index"."""
    return str(node["Extra"]).split("; ")


def since(world: SqlWorld) -> tuple[datetime, datetime]:
    """Return the moments a minute and an hour ago."""
    return world.sql.ledger.since(NOW_MS)


def test_the_last_minute_is_counted_from_an_index_alone(world: SqlWorld) -> None:
    """At the full pace it has 120,000 rows, and to fetch each of them took a third of a second and more."""
    nodes = plan(world, world.sql.ledger.in_minute, [ENTITY, since(world)[0]])
    assert indexes(nodes) == {"driftline_ledger_written"}
    if world.settings.kind is StoreKind.MARIADB:
        # PostgreSQL does so too once the table was vacuumed, and fetches them in the order of their places before.
        assert all("Using index" in extras(node) for node in nodes)


def test_what_was_done_to_rows_is_found_by_the_rows(world: SqlWorld) -> None:
    """Not by the time: all of the hour's rows would be read for those of one transaction."""
    hashes = [name_of(number) for number in range(ASKED)]
    assert indexes(plan(world, *world.sql.ledger.of_keys(hashes, since(world)[1]))) == {"driftline_ledger_row"}


def test_ledger_rows_are_found_by_their_ids(world: SqlWorld) -> None:
    """However many are asked for, and whether or not they are there."""
    names = [name_of(number) for number in range(ROWS - ASKED // 2, ROWS + ASKED // 2)]
    assert "" not in indexes(plan(world, *world.sql.ledger.by_ids(names)))


def test_a_page_of_the_ledger_begins_where_the_one_before_ended(world: SqlWorld) -> None:
    """By the chain's index, from its place on: who reads a ledger whole reads each row once."""
    if world.settings.kind is StoreKind.POSTGRES:
        # This ledger is so short that it may as well be gathered and sorted; a longer one is not.
        world.sql.writing().cursor().execute("SET LOCAL enable_bitmapscan = off")
    nodes = plan(world, *world.sql.ledger.page(3, ROWS - ASKED, ASKED))
    assert indexes(nodes) == {"driftline_ledger_chain"}
    if world.settings.kind is StoreKind.POSTGRES:
        assert [node["Node Type"] for node in nodes] == ["Limit", "Index Scan"]
        assert not any("Filter" in node for node in nodes)
    else:
        assert {node["type"] for node in nodes} == {"range"}
        assert not any("Using filesort" in extras(node) for node in nodes)


def test_the_newest_inserts_are_found_by_their_place(world: SqlWorld) -> None:
    """Not by what they are: all inserts ever made would be read."""
    assert indexes(plan(world, world.sql.ledger.inserts, [3, ROWS - ASKED])) == {"driftline_ledger_chain"}
    assert indexes(plan(world, *world.sql.ledger.heads([3]))) == {"driftline_ledger_chain"}
