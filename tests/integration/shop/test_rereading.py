"""What CDC cannot say, on real databases: damages that no log told of are found by reading again, and nothing else is.

MariaDB's are made with `sql_log_bin=0`, PostgreSQL's while its table is out of the publication of Driftline's own
connector. What `session_replication_role=replica` writes is in the log, and no gap.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from demo_parts.pipeline import await_condition
from demo_parts.running import Running
from demo_parts.sides import Kind, Side

pytestmark = [pytest.mark.stack, pytest.mark.own_stack]

ENVIRONMENT = {"DRIFTLINE_CONDUCTOR_PASS_INTERVAL_S": "20", "DRIFTLINE_CONDUCTOR_ROWS_PER_S": "2000"}
CUSTOMERS, MADE_CUSTOMERS = {*range(1, 16), *range(21, 31)}, {9001}
PRODUCTS, MADE_PRODUCTS = {*range(1, 11), *range(21, 31)}, set(range(9001, 9005))


def told(running: Running, *arguments: str) -> list[dict[str, Any]]:
    """Return what a reading command prints as JSON lines, whatever its exit code says of the stores."""
    command = running.deployment.command("-o", "jsonl", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@dataclass
class Verified:
    """The system with its conductor, after the damages were planted."""

    running: Running
    customers: set[int]
    """Those that are hidden in MariaDB."""
    products: set[int]
    """Those that are hidden in PostgreSQL."""

    def gaps(self) -> set[tuple[str, str, int]]:
        """Return entity, store and key of every capture gap so far."""
        found = told(self.running, "drifts", "--keys", "--history")
        return {(f["entity"], f["replica"], int(f["key"])) for f in found if f["kind"] == "capture_gap"}

    def passes(self) -> dict[tuple[str, str], int]:
        """Return how many passes over each table have ended."""
        rereads: list[dict[str, Any]] = next(
            (row["rereads"] for row in told(self.running, "status") if "rereads" in row), []
        )
        return {(row["entity"], row["store"]): row["passes"] for row in rereads}

    def start_conductor(self) -> None:
        """Start it, or start it again."""
        command = self.running.deployment.command("conductor")
        self.running.processes.start("conductor", command, ENVIRONMENT)

    def await_passes(self, more: int) -> None:
        """Wait until every table of both stores was read whole so many times more, the newest from its beginning."""
        before = self.passes()
        tables = {(entity, store) for entity in self.running.health() for store in ("pg", "my")}

        def done() -> bool:
            self.running.check()
            now = self.passes()
            return all(now.get(at, 0) >= max(1, before.get(at, 0)) + more for at in tables)

        await_condition(done, 240, f"{more} passes over {len(tables)} tables", every=2.0)


@pytest.fixture(scope="module")
def verified(running: Running) -> Iterator[Verified]:
    """Hide damages in both databases, and let the conductor work; then delete the customer that no repair may."""
    mariadb, postgres = running.places.admin(Kind.MARIADB), running.places.admin(Kind.POSTGRES)
    # Which of them are there depends on what was tried before.
    customers = CUSTOMERS & {int(row[0]) for row in mariadb.query("SELECT id FROM shop.customers")}
    products = PRODUCTS & {int(row[0]) for row in postgres.query("SELECT id FROM products")}
    made = Verified(running, customers | MADE_CUSTOMERS, products | MADE_PRODUCTS)
    hide_in_mariadb(mariadb)
    with running.load.held():
        hide_in_postgres(postgres)
    made.start_conductor()
    yield made
    running.shop.copy.run_all([f"DELETE FROM customers WHERE id = {customer}" for customer in MADE_CUSTOMERS])  # noqa: S608


def hide_in_mariadb(side: Side) -> None:
    """Change, delete and add customers past the binary log."""
    side.run_all(
        [
            "SET SESSION sql_log_bin = 0",
            "UPDATE shop.customers SET name = CONCAT(name, ' hidden') WHERE id BETWEEN 1 AND 15",
            "DELETE FROM shop.customers WHERE id BETWEEN 21 AND 30",
            "INSERT INTO shop.customers SELECT 9001, 'h@x', 'h', city, vip, created_at FROM shop.customers LIMIT 1",
        ]
    )


def hide_in_postgres(side: Side) -> None:
    """Change, delete and add products while no publication has them, and customers as a replica would."""
    side.run_all(
        [
            "ALTER PUBLICATION driftline_feed DROP TABLES IN SCHEMA public",
            "ALTER PUBLICATION pipeline DROP TABLES IN SCHEMA public",
            "UPDATE products SET title = title || ' hidden' WHERE id BETWEEN 1 AND 10",
            "DELETE FROM products WHERE id BETWEEN 21 AND 30",
            "INSERT INTO products SELECT id + 9000, sku || '-h', title, price FROM products WHERE id BETWEEN 1 AND 4",
            "ALTER PUBLICATION driftline_feed ADD TABLES IN SCHEMA public",
            "ALTER PUBLICATION pipeline ADD TABLES IN SCHEMA public",
            "SET session_replication_role = replica",
            "UPDATE customers SET city = 'as a replica' WHERE id BETWEEN 60 AND 70",
        ]
    )


def test_every_hidden_damage_is_found_and_nothing_else_is_a_gap(verified: Verified) -> None:
    """Changes, deletes and inserts in both databases, amid the load; the conductor is killed once on its way."""
    wanted = {("customers", "my", n) for n in verified.customers} | {("products", "pg", n) for n in verified.products}
    await_condition(lambda: bool(verified.gaps()), 120, "the first gap", every=2.0)
    verified.running.processes.kill("conductor")
    verified.start_conductor()
    await_condition(lambda: wanted <= verified.gaps(), 180, "every gap", every=2.0)
    verified.await_passes(1)
    assert verified.gaps() == wanted


def test_a_gap_of_a_replica_is_a_drift_and_is_repaired(verified: Verified) -> None:
    """What was hidden from the log is repaired like any damage, where the policy lets it."""
    shop = verified.running.shop
    changed = "SELECT count(*) FROM customers WHERE name LIKE '%% hidden'"
    await_condition(lambda: shop.copy.one(changed.replace("%%", "%")) == (0,), 120, "the repairs", every=1.0)
    missing = "SELECT count(*) FROM customers WHERE id BETWEEN 21 AND 30"
    await_condition(lambda: shop.copy.one(missing) == shop.origin.one(missing), 120, "the missing rows", every=1.0)


def test_what_was_read_is_told(verified: Verified) -> None:
    """Rows, passes, gaps, and the bound that the sample states."""
    rereads = next(row["rereads"] for row in told(verified.running, "status") if "rereads" in row)
    customers = next(row for row in rereads if (row["entity"], row["store"]) == ("customers", "my"))
    assert customers["whole_rows"] >= 100
    assert customers["whole_unproven_slices"] == 0
    assert customers["gaps"] == len(verified.customers)
