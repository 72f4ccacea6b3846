"""What is selected and bound for each type; that databases agree is shown by `tests/integration/test_one_digest.py`."""

from __future__ import annotations

from decimal import Decimal

import pytest

from app.adapters.sql_values import binder, select_expression
from app.core.contract import FieldKind, FieldType
from app.core.errors import ContractViolation, Unmappable
from app.core.store import StoreKind
from app.core.types.canonical import Canonical

K = FieldKind
PG, MY = StoreKind.POSTGRES, StoreKind.MARIADB
STAMP = 1_772_282_096_789_012
PARIS = FieldType(K.INSTANT, zone="Europe/Paris")
NEW_YORK = FieldType(K.INSTANT, zone="America/New_York")


def bound(kind: StoreKind, type_: FieldKind | FieldType, value: Canonical, encoding: str = "") -> object:
    """Return what is bound for a value."""
    return binder(kind, type_ if isinstance(type_, FieldType) else FieldType(type_), encoding)(value)


@pytest.mark.parametrize("type_", list(FieldKind))
@pytest.mark.parametrize("kind", [PG, MY, StoreKind.MYSQL])
def test_every_type_is_selected_by_its_column_and_null_is_bound(kind: StoreKind, type_: FieldKind) -> None:
    """No type is forgotten, and nothing in an expression is taken for a driver's placeholder."""
    expression = select_expression(kind, FieldType(type_), '"a%{0}"')
    assert '"a%{0}"' in expression
    assert "%" not in expression.replace('"a%{0}"', "")
    assert bound(kind, type_, None) is None


@pytest.mark.parametrize(
    ("kind", "type_", "value", "expected"),
    [
        (PG, K.BOOL, True, "true"),
        (MY, K.BOOL, True, 1),
        (PG, K.UINT64, (1 << 64) - 1, "18446744073709551615"),
        (MY, K.UINT64, (1 << 64) - 1, (1 << 64) - 1),
        (PG, K.DECIMAL, "NaN", "NaN"),
        (MY, K.DECIMAL, "9" * 65, Decimal("9" * 65)),
        (PG, K.FLOAT64, "5e-324", "5e-324"),
        (MY, K.FLOAT64, "5e-324", 5e-324),
        (PG, K.DATE, -735_160, "0044-03-15 BC"),
        (PG, K.DATE, "infinity", "infinity"),
        (MY, K.DATE, 20_512, "2026-02-28"),
        (PG, K.INSTANT, STAMP, "2026-02-28 12:34:56.789012+00"),
        (PG, K.INSTANT, "-infinity", "-infinity"),
        (PG, PARIS, STAMP, "2026-02-28 13:34:56.789012+01:00:00"),
        (PG, PARIS, 1_792_888_200_000_000, "2026-10-25 02:30:00.000000+02:00:00"),
        (PG, PARIS, 1_792_891_800_000_000, "2026-10-25 02:30:00.000000+01:00:00"),
        (PG, NEW_YORK, STAMP, "2026-02-28 07:34:56.789012-05:00:00"),
        (PG, FieldType(K.LOCAL_TIMESTAMP, zone="Europe/Paris"), STAMP, "2026-02-28 12:34:56.789012 Europe/Paris"),
        (MY, K.INSTANT, STAMP, "2026-02-28 12:34:56.789012"),
        (MY, PARIS, STAMP, "2026-02-28 13:34:56.789012"),
        (PG, K.INTERVAL, (10, 3, -1), "10 months 3 days -1 microseconds"),
        (MY, K.INTERVAL, (10, 3, -1_500_000), "P10M3DT-1.500000S"),
        (MY, K.TIME, -1, "-00:00:00.000001"),
        (PG, FieldType(K.ARRAY, element=FieldType(K.STRING)), ("a", None, 'b"\\'), '{"a",NULL,"b\\"\\\\"}'),
        (PG, FieldType(K.ARRAY, element=FieldType(K.BYTES)), (b"\x01",), '{"\\\\x01"}'),
        (MY, FieldType(K.ARRAY, element=FieldType(K.STRING)), ("é", None), '["é", null]'),
        (MY, FieldType(K.ARRAY, element=FieldType(K.DATE)), (0, None), '["1970-01-01", null]'),
        (MY, FieldType(K.ARRAY, element=FieldType(K.INSTANT)), (0,), '["1970-01-01 00:00:00.000000"]'),
        (PG, K.BYTES, b"\x00", b"\x00"),
        (PG, K.STRING, "x", "x"),
    ],
)
def test_a_value_is_bound_in_a_form_that_changes_nothing(
    kind: StoreKind, type_: FieldKind | FieldType, value: Canonical, expected: object
) -> None:
    """Texts for PostgreSQL, which reads them as the column's type; exact numbers for the others."""
    assert bound(kind, type_, value) == expected


def test_an_instant_column_in_a_contract_of_another_zone_is_bound_in_utc() -> None:
    """The contract says so by the encoding `utc`."""
    assert bound(MY, PARIS, STAMP, "utc") == "2026-02-28 12:34:56.789012"


def test_a_wall_clock_s_reading_is_bound_as_its_instant_where_the_column_is_in_utc() -> None:
    """One that the clock shows twice has no instant."""
    local = FieldType(K.LOCAL_TIMESTAMP, zone="Europe/Paris")
    assert bound(MY, local, STAMP, "utc") == "2026-02-28 11:34:56.789012"
    assert bound(PG, local, STAMP, "utc") == "2026-02-28 11:34:56.789012+00"
    with pytest.raises(Unmappable):
        bound(MY, local, 1_792_895_400_000_000, "utc")


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (K.DECIMAL, "NaN"),
        (K.DECIMAL, "Infinity"),
        (K.DECIMAL, "9" * 66),
        (K.DECIMAL, "0." + "0" * 38 + "1"),
        (K.FLOAT64, "NaN"),
        (K.FLOAT32, "-Infinity"),
        (K.DATE, "infinity"),
        (K.DATE, -735_160),
        (K.DATE, 2_932_897),
        (K.INSTANT, "infinity"),
        (K.INSTANT, 253_402_300_800_000_000),
        (K.LOCAL_TIMESTAMP, "-infinity"),
    ],
)
def test_a_value_that_mariadb_cannot_hold_is_refused_before_it_becomes_another(
    type_: FieldKind, value: str | int
) -> None:
    """A lax server would write zero."""
    with pytest.raises(Unmappable):
        bound(MY, type_, value)


def test_a_store_without_sql_is_refused() -> None:
    """MongoDB's rows are not read or written by SQL."""
    with pytest.raises(ContractViolation):
        select_expression(StoreKind.MONGODB, FieldType(K.INT64), "a")
    with pytest.raises(ContractViolation):
        binder(StoreKind.MONGODB, FieldType(K.INT64))
