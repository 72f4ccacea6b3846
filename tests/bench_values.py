"""Time of decoding and digesting one change: `python tests/bench_values.py`. Not a test: machines differ."""

from __future__ import annotations

import sys
import timeit
from collections.abc import Callable

import orjson

from app.codec.envelope import decoder_for
from app.core.contract import EntityContract, Field, FieldKind, FieldType, KeyField
from app.core.digest import Dialect, RowDigester, keyed_hash
from app.core.store import Converter, StoreKind

K = FieldKind
TIMES = 50_000
COLUMNS = {"customer": K.INT64, "amount": K.DECIMAL, "status": K.STRING, "paid": K.BOOL, "updated": K.INSTANT}
ROW = {
    "id": 17,
    "customer": 5,
    "amount": "1.25",
    "status": "new",
    "paid": True,
    "updated": "2026-02-28T12:34:56.789012Z",
}
SOURCE = {
    "connector": "postgresql",
    "name": "pg",
    "ts_ms": 1_772_282_096_789,
    "snapshot": "false",
    "db": "shop",
    "sequence": '["26974928","26989320"]',
    "schema": "public",
    "table": "orders",
    "txId": 776,
    "lsn": 26_989_320,
}


def main() -> None:
    """Print microseconds for each step, the best of three runs."""
    fields = tuple(Field(name, FieldType(kind), {"pg": name}) for name, kind in COLUMNS.items())
    key = (KeyField("id", FieldType(K.INT64), {"pg": "id"}),)
    digester = RowDigester(
        EntityContract("order", 1, 7, key, fields, "pg", (), ()), "pg", Dialect.POSTGRES_CDC, bytes(32)
    )
    decoder = decoder_for(StoreKind.POSTGRES, Converter.JSON, "left-out-5d1f0b")
    key_bytes = b'{"id":17}'
    value = orjson.dumps({"before": None, "after": ROW, "source": SOURCE, "op": "c", "ts_ms": 1})
    canonical = digester.canonical_key(ROW)
    steps: dict[str, Callable[[], object]] = {
        "decode": lambda: decoder.decode(key_bytes, value),
        "canonical key": lambda: digester.canonical_key(ROW),
        "digest of 5 fields": lambda: digester.groups(ROW),
        "key hash": lambda: keyed_hash(b"k", 7, canonical),
    }
    for name, step in steps.items():
        best = min(timeit.repeat(step, number=TIMES, repeat=3)) / TIMES
        sys.stdout.write(f"{name}: {best * 1e6:.2f} us\n")


if __name__ == "__main__":
    main()
