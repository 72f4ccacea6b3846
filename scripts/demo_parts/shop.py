"""The shop's tables and first rows, the same for both servers where the servers allow it.

Rows below `FIRST_LOADED_ID` are never touched by the load: damages are planted there, and a pipeline that writes whole
rows would otherwise mend them by chance.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from demo_parts.sides import Kind, Side

FIRST_LOADED_ID = 10_000
LOADED_ORDERS = 400
LOADED_DOCUMENTS = 20
STILL_CUSTOMERS = 120
STILL_ORDERS = 200
STILL_DOCUMENTS = 20
PRODUCTS = 40
BEGUN_AT = datetime(2026, 1, 5, 9, 30, 15, 123456, tzinfo=UTC)

TABLES = ("customers", "products", "orders", "documents", "ledger_entries", "pipeline_sins")
"""Every table of the shop, in the order in which they are made."""

KEY = "id"

COLUMNS: dict[str, tuple[str, ...]] = {
    "customers": ("id", "email", "name", "city", "vip", "created_at"),
    "products": ("id", "sku", "title", "price"),
    "orders": ("id", "customer_id", "status", "amount", "quantity", "note", "placed_at", "updated_at"),
    "documents": ("id", "title", "body", "revision"),
    "ledger_entries": ("id", "account", "amount", "booked_at"),
    "pipeline_sins": ("id", "kind", "big_text", "measure", "exact", "touched"),
}

_SQL = Path(__file__).parent / "sql"


def make_origin(side: Side) -> None:
    """Make the shop's tables where the shop writes."""
    side.run_all(_statements(f"{side.kind.value}.sql"))
    if side.kind is Kind.POSTGRES:
        side.run_all(_statements("postgres_origin.sql"))


def make_copy(side: Side) -> None:
    """Make the tables that the pipeline fills, except the one that the sink makes by itself."""
    side.run_all(_statements(f"{side.kind.value}.sql"))


def _statements(name: str) -> list[str]:
    text = "\n".join(
        line for line in (_SQL / name).read_text(encoding="utf-8").splitlines() if not line.startswith("--")
    )
    return [statement.strip() for statement in text.split(";") if statement.strip()]


def tables_of(origin: Side) -> tuple[str, ...]:
    """Return the tables that this shop has: the pipeline's own sins need PostgreSQL as the origin."""
    return TABLES if origin.kind is Kind.POSTGRES else TABLES[:-1]


def body_of(document: int, revision: int) -> str:
    """Return a body of about 6 KB that no compression makes short."""
    seeds = (f"{document}/{revision}/{n}".encode() for n in range(100))
    return "".join(hashlib.sha256(seed).hexdigest() for seed in seeds)


def moment(number: int) -> datetime:
    """Return a moment of the past that belongs to a row's number, with microseconds."""
    return BEGUN_AT + timedelta(minutes=17 * number, microseconds=number * 7)


def seed(side: Side) -> None:
    """Write the first rows; a shop that has rows already is left alone."""
    if side.query("SELECT 1 FROM customers LIMIT 1"):
        return
    with side.connection(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO customers (id, email, name, city, vip, created_at) VALUES (%s, %s, %s, %s, %s, %s)",
            [
                (
                    n,
                    f"customer{n}@example.org",
                    f"Customer Nº{n} ☕",
                    "Zürich" if n % 3 else None,
                    n % 7 == 0,
                    moment(n),
                )
                for n in range(1, STILL_CUSTOMERS + 1)
            ],
        )
        cursor.executemany(
            "INSERT INTO products (id, sku, title, price) VALUES (%s, %s, %s, %s)",
            [(n, f"SKU-{n:05d}", f"Product {n}", f"{n * 3}.{n % 100:02d}") for n in range(1, PRODUCTS + 1)],
        )
        numbers = [
            *range(1, STILL_ORDERS + 1),
            *range(FIRST_LOADED_ID, FIRST_LOADED_ID + LOADED_ORDERS),
        ]
        cursor.executemany(
            "INSERT INTO orders (id, customer_id, status, amount, quantity, note, placed_at, updated_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (n, n % STILL_CUSTOMERS + 1, "new", f"{n}.{n % 90 + 10}", n % 9 + 1, _note(n), moment(n), moment(n + 1))
                for n in numbers
            ],
        )
        numbers = [
            *range(1, STILL_DOCUMENTS + 1),
            *range(FIRST_LOADED_ID, FIRST_LOADED_ID + LOADED_DOCUMENTS),
        ]
        cursor.executemany(
            "INSERT INTO documents (id, title, body, revision) VALUES (%s, %s, %s, %s)",
            [(n, f"Document {n}", body_of(n, 1), 1) for n in numbers],
        )
        cursor.executemany(
            "INSERT INTO ledger_entries (id, account, amount, booked_at) VALUES (%s, %s, %s, %s)",
            [(n, f"account-{n % 11}", f"{n}.25", moment(n)) for n in range(1, 51)],
        )
        if side.kind is Kind.POSTGRES:
            cursor.executemany(
                "INSERT INTO pipeline_sins (id, kind, big_text, measure, exact, touched)"
                " VALUES (%s, %s, %s, %s, %s, 0)",
                [(n, "plain", body_of(n, 7), n + 0.5, n) for n in range(1, 11)],
            )


def _note(number: int) -> str | None:
    return None if number % 5 == 0 else f"Gift for Zoë 🎁 number {number}"
