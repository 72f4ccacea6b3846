"""What is done to the copy behind the pipeline's back: one entry for each row of the table of what is detected.

Each damage has rows of its own, which nothing else writes. `prepare` makes healthy changes through the pipeline,
`settled` says whether the copy has them, `plant` does the damage and returns the wall-clock second of its commit.
`expected` is what must be reported, and how it must end.
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


def _old_value_back(shop: Shop) -> float:
    """Write back, in the copy, the whole row as it was before the origin's last change."""
    touched = shop.copy.execute(
        "UPDATE orders SET status = 'new', updated_at = %s WHERE id = %s", (moment(15), _OLD_VALUE)
    )
    at = wall_clock()
    if touched != 1:
        raise RuntimeError("the old value was not written back: the copy's row was not there")
    return at


_ROGUE, _DELETED, _OLD_VALUE, _DECIMAL, _TRAILING, _CASE, _SHIFTED, _EMOJI = 11, 12, 14, 15, 16, 17, 18, 19
_LOST, _UNDELETED, _MOVED = 21, 22, 23
_FOREIGN, _MOVED_TO = 7_001, 7_023
_TOAST = 5
_SIN_PLACEHOLDER, _SIN_NAN, _SIN_NUMERIC = 3, 4, 5


def damages(products: int) -> tuple[Damage, ...]:
    """Return every damage; `products` is the number of rows that a truncate takes away."""
    return (
        Damage(
            "rogue_update",
            "orders",
            (Expected(_ROGUE, "different"),),
            on_copy("UPDATE orders SET quantity = quantity + 1000 WHERE id = %s", _ROGUE),
        ),
        Damage(
            "row_deleted",
            "orders",
            (Expected(_DELETED, "missing"),),
            on_copy("DELETE FROM orders WHERE id = %s", _DELETED),
        ),
        Damage(
            "row_inserted",
            "customers",
            (Expected(_FOREIGN, "extra"),),
            on_copy(
                "INSERT INTO customers (id, email, name, city, vip, created_at)"
                " VALUES (%s, 'nobody@example.org', 'Nobody', NULL, %s, %s)",
                _FOREIGN,
                False,
                moment(3),
            ),
            needs_approval=True,
        ),
        Damage(
            "lost_change",
            "customers",
            (Expected(_LOST, "stale"),),
            _lost("customers", "UPDATE customers SET city = 'Basel' WHERE id = %s", _LOST),
            loses_a_change=True,
        ),
        Damage(
            "old_value_back",
            "orders",
            (Expected(_OLD_VALUE, "stale"),),
            _old_value_back,
            prepare=_on_origin(
                "UPDATE orders SET status = 'paid', updated_at = %s WHERE id = %s", moment(99), _OLD_VALUE
            ),
            settled=_copy_shows("SELECT 1 FROM orders WHERE id = %s AND status = 'paid'", _OLD_VALUE),
        ),
        Damage(
            "decimal_truncated",
            "orders",
            (Expected(_DECIMAL, "different"),),
            on_copy("UPDATE orders SET amount = floor(amount) WHERE id = %s", _DECIMAL),
        ),
        Damage(
            "trailing_space",
            "orders",
            (Expected(_TRAILING, "different"),),
            on_copy("UPDATE orders SET status = 'new ' WHERE id = %s", _TRAILING),
        ),
        Damage(
            "other_case",
            "orders",
            (Expected(_CASE, "different"),),
            on_copy("UPDATE orders SET status = 'New' WHERE id = %s", _CASE),
        ),
        Damage(
            "timestamp_shifted",
            "orders",
            (Expected(_SHIFTED, "different"),),
            on_copy("UPDATE orders SET placed_at = placed_at + INTERVAL '1' HOUR WHERE id = %s", _SHIFTED),
        ),
        Damage(
            "emoji_lost",
            "orders",
            (Expected(_EMOJI, "different"),),
            on_copy("UPDATE orders SET note = replace(note, '🎁', '?') WHERE id = %s", _EMOJI),
        ),
        Damage(
            "delete_not_arrived",
            "customers",
            (Expected(_UNDELETED, "extra"),),
            _lost("customers", "DELETE FROM customers WHERE id = %s", _UNDELETED),
            needs_approval=True,
            loses_a_change=True,
        ),
        Damage(
            "primary_key_changed",
            "customers",
            (Expected(_MOVED, "missing"), Expected(_MOVED_TO, "extra")),
            on_copy("UPDATE customers SET id = %s WHERE id = %s", _MOVED_TO, _MOVED),
            needs_approval=True,
        ),
        Damage(
            "table_truncated",
            "products",
            tuple(Expected(number, "missing") for number in range(1, products + 1)),
            _truncated,
            needs_approval=True,
            incident=True,
        ),
        Damage(
            "toast_rogue",
            "documents",
            (Expected(_TOAST, "different"),),
            on_copy("UPDATE documents SET body = %s WHERE id = %s", body_of(_TOAST, 666), _TOAST),
            prepare=_on_origin("UPDATE documents SET revision = 2 WHERE id = %s", _TOAST),
            settled=_copy_shows("SELECT 1 FROM documents WHERE id = %s AND revision = 2", _TOAST),
        ),
        Damage(
            "sin_placeholder",
            "pipeline_sins",
            (Expected(_SIN_PLACEHOLDER, "different"),),
            _sinned("UPDATE pipeline_sins SET touched = touched + 1 WHERE id = %s", _SIN_PLACEHOLDER),
            only_forward=True,
            may_be_refused=True,
        ),
        Damage(
            "sin_nan",
            "pipeline_sins",
            (Expected(_SIN_NAN, "different"),),
            # The long text is written too, so that this row has one sin and not two.
            _sinned("UPDATE pipeline_sins SET measure = 'NaN', big_text = %s WHERE id = %s", body_of(4, 8), _SIN_NAN),
            only_forward=True,
            may_be_refused=True,
        ),
        Damage(
            "sin_bare_numeric",
            "pipeline_sins",
            (Expected(_SIN_NUMERIC, "different"),),
            _sinned(
                "UPDATE pipeline_sins SET exact = 12345678901234567890.123456789, big_text = %s WHERE id = %s",
                body_of(5, 8),
                _SIN_NUMERIC,
            ),
            only_forward=True,
            may_be_refused=True,
        ),
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
