"""What is done to the copy behind the pipeline's back: one entry for each row of the table of what is detected.

Each damage has rows of its own, which nothing else writes. `prepare` makes healthy changes through the pipeline,
`settled` says whether the copy has them, `plant` does the damage and returns the wall-clock second of its commit.
`expected` is what must be reported, and how it must end. Where `redelivery_heals`, a sink that restarts may write the
origin's last change once more and so undo the damage before anybody repairs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from demo_parts.pipeline import Pipeline, wall_clock
from demo_parts.shop import STILL_CUSTOMERS, body_of, moment
from demo_parts.sides import Kind, Side


@dataclass(frozen=True, slots=True)
class Shop:
    """The shop with its copy, and the pipeline between them."""

    origin: Side
    copy: Side
    pipeline: Pipeline

    @property
    def reversed(self) -> bool:
        """Whether MariaDB is the origin and PostgreSQL the copy."""
        return self.origin.kind is Kind.MARIADB


@dataclass(frozen=True, slots=True)
class Expected:
    """One drift that must be reported: the row's key and the kind."""

    key: int
    kind: str


@dataclass(frozen=True, slots=True)
class Damage:
    """One kind of damage, planted once."""

    name: str
    entity: str
    expected: tuple[Expected, ...]
    plant: Callable[[Shop], float]
    prepare: Callable[[Shop], None] | None = None
    settled: Callable[[Shop], bool] | None = None
    needs_approval: bool = False
    may_be_refused: bool = False
    incident: bool = False
    only_forward: bool = False
    loses_a_change: bool = field(default=False)
    redelivery_heals: bool = False

    @property
    def kinds(self) -> str:
        """The expected kinds as one word."""
        return " and ".join(dict.fromkeys(expected.kind for expected in self.expected))


def on_copy(sql: str, *parameters: object) -> Callable[[Shop], float]:
    """Damage the copy by one statement, which must touch exactly one row."""

    def plant(shop: Shop) -> float:
        touched = shop.copy.execute(sql, parameters)
        at = wall_clock()
        if touched != 1:
            raise RuntimeError(f"the damage touched {touched} rows of the copy instead of one: {sql}")
        return at

    return plant


def _on_origin(sql: str, *parameters: object) -> Callable[[Shop], None]:
    def change(shop: Shop) -> None:
        touched = shop.origin.execute(sql, parameters)
        if touched != 1:
            raise RuntimeError(f"the change touched {touched} rows of the origin instead of one: {sql}")

    return change


def _copy_shows(sql: str, *parameters: object) -> Callable[[Shop], bool]:
    return lambda shop: bool(shop.copy.query(sql, parameters))


def _lost(table: str, sql: str, *parameters: object) -> Callable[[Shop], float]:
    """Change the origin in a way that the pipeline never brings."""

    def plant(shop: Shop) -> float:
        return shop.pipeline.lose(table, lambda: _on_origin(sql, *parameters)(shop))

    return plant


def _sinned(sql: str, *parameters: object) -> Callable[[Shop], float]:
    """Change the origin innocently; the pipeline itself makes the copy wrong."""

    def plant(shop: Shop) -> float:
        _on_origin(sql, *parameters)(shop)
        return wall_clock()

    return plant


def _truncated(shop: Shop) -> float:
    shop.copy.execute("TRUNCATE TABLE products")
    return wall_clock()


MANGLED: dict[str, str] = {
    "rogue_update": "UPDATE orders SET quantity = quantity + 1000 WHERE id = %s",
    "decimal_truncated": "UPDATE orders SET amount = floor(amount) WHERE id = %s",
    "trailing_space": "UPDATE orders SET status = 'new ' WHERE id = %s",
    "other_case": "UPDATE orders SET status = 'New' WHERE id = %s",
    "timestamp_shifted": "UPDATE orders SET placed_at = placed_at + INTERVAL '1' HOUR WHERE id = %s",
    "emoji_lost": "UPDATE orders SET note = replace(note, '🎁', '?') WHERE id = %s",
}
"""What is done to one order of the copy; a row whose note is empty has no emoji to lose."""


def mangled(name: str, row: int) -> Damage:
    """Return one of the manglings, on an order."""
    return Damage(name, "orders", (Expected(row, "different"),), on_copy(MANGLED[name], row))


def row_deleted(row: int) -> Damage:
    """Return the loss of an order."""
    return Damage(
        "row_deleted", "orders", (Expected(row, "missing"),), on_copy("DELETE FROM orders WHERE id = %s", row)
    )


def row_inserted(row: int) -> Damage:
    """Return a customer that nobody entered."""
    return Damage(
        "row_inserted",
        "customers",
        (Expected(row, "extra"),),
        on_copy(
            "INSERT INTO customers (id, email, name, city, vip, created_at)"
            " VALUES (%s, 'nobody@example.org', 'Nobody', NULL, %s, %s)",
            row,
            False,
            moment(3),
        ),
        needs_approval=True,
    )


def lost_change(row: int) -> Damage:
    """Return a customer's change that the sink never writes."""
    return Damage(
        "lost_change",
        "customers",
        (Expected(row, "stale"),),
        _lost("customers", "UPDATE customers SET city = 'Basel' WHERE id = %s", row),
        loses_a_change=True,
    )


def delete_not_arrived(row: int) -> Damage:
    """Return a customer's delete that the sink never writes."""
    return Damage(
        "delete_not_arrived",
        "customers",
        (Expected(row, "extra"),),
        _lost("customers", "DELETE FROM customers WHERE id = %s", row),
        needs_approval=True,
        loses_a_change=True,
    )


def old_value_back(row: int) -> Damage:
    """Return an order that is, in the copy, put back to what it was before the origin's last change."""
    return Damage(
        "old_value_back",
        "orders",
        (Expected(row, "stale"),),
        on_copy("UPDATE orders SET status = 'new', updated_at = %s WHERE id = %s", moment(row + 1), row),
        prepare=_on_origin("UPDATE orders SET status = 'paid', updated_at = %s WHERE id = %s", moment(99), row),
        settled=_copy_shows("SELECT 1 FROM orders WHERE id = %s AND status = 'paid'", row),
        redelivery_heals=True,
    )


def primary_key_changed(row: int, moved_to: int) -> Damage:
    """Return a customer that moves to another key."""
    return Damage(
        "primary_key_changed",
        "customers",
        (Expected(row, "missing"), Expected(moved_to, "extra")),
        on_copy("UPDATE customers SET id = %s WHERE id = %s", moved_to, row),
        needs_approval=True,
    )


def table_truncated(products: int) -> Damage:
    """Return the loss of a whole table of so many rows, which is one incident."""
    return Damage(
        "table_truncated",
        "products",
        tuple(Expected(number, "missing") for number in range(1, products + 1)),
        _truncated,
        needs_approval=True,
        incident=True,
    )


def toast_rogue(row: int) -> Damage:
    """Return a long text changed in the copy, after a change of the origin that left it out of the log."""
    return Damage(
        "toast_rogue",
        "documents",
        (Expected(row, "different"),),
        on_copy("UPDATE documents SET body = %s WHERE id = %s", body_of(row, 666), row),
        prepare=_on_origin("UPDATE documents SET revision = 2 WHERE id = %s", row),
        settled=_copy_shows("SELECT 1 FROM documents WHERE id = %s AND revision = 2", row),
    )


def sin_placeholder(row: int) -> Damage:
    """Return a placeholder that the pipeline writes for a long text."""
    return _sin("sin_placeholder", row, "UPDATE pipeline_sins SET touched = touched + 1 WHERE id = %s", row)


def sin_nan(row: int) -> Damage:
    """Return a NaN that the copy's column cannot hold."""
    # The long text is written too, so that this row has one sin and not two.
    text = body_of(row, 8)
    return _sin("sin_nan", row, "UPDATE pipeline_sins SET measure = 'NaN', big_text = %s WHERE id = %s", text, row)


def sin_bare_numeric(row: int) -> Damage:
    """Return a number with more digits than the copy's column holds."""
    return _sin(
        "sin_bare_numeric",
        row,
        "UPDATE pipeline_sins SET exact = 12345678901234567890.123456789, big_text = %s WHERE id = %s",
        body_of(row, 8),
        row,
    )


def _sin(name: str, row: int, sql: str, *parameters: object) -> Damage:
    return Damage(
        name,
        "pipeline_sins",
        (Expected(row, "different"),),
        _sinned(sql, *parameters),
        only_forward=True,
        may_be_refused=True,
    )


def damages(products: int) -> tuple[Damage, ...]:
    """Return every damage once; `products` is the number of rows that a truncate takes away."""
    return (
        mangled("rogue_update", 11),
        row_deleted(12),
        row_inserted(7_001),
        lost_change(21),
        old_value_back(14),
        mangled("decimal_truncated", 15),
        mangled("trailing_space", 16),
        mangled("other_case", 17),
        mangled("timestamp_shifted", 18),
        mangled("emoji_lost", 19),
        delete_not_arrived(22),
        primary_key_changed(23, 7_023),
        table_truncated(products),
        toast_rogue(5),
        sin_placeholder(3),
        sin_nan(4),
        sin_bare_numeric(5),
    )


def canary(number: int) -> Damage:
    """Return the one damage that ends a quiet case, on a row of its own."""
    row = STILL_CUSTOMERS - number
    return Damage(
        f"canary_{number}",
        "customers",
        (Expected(row, "different"),),
        on_copy("UPDATE customers SET city = %s WHERE id = %s", f"Nowhere {number}", row),
    )
