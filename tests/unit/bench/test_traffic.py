"""The bench's traffic: of Debezium's shape, the same in every process, and as drifting and skewed as it says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from app.agents.ingest import beacon_of
from app.bench.columns import declared_fields
from app.bench.declaration import contract_declared, stores_declared
from app.bench.envelopes import Side, headers_of
from app.bench.load import COLUMNS, REPLICA_LAG_US, Load, Spread, Stretch, changes
from app.bench.store_log import SchemaIds, Sent, StoreLog, planted_in, schemas_of
from app.codec.contract_file import read_contract
from app.codec.envelope import Decoder, decoder_for
from app.core.contract import EntityContract
from app.core.dialects import BY_LOG
from app.core.digest import RowDigester
from app.core.event import ChangeEvent, Operation, Reading
from app.core.finding import DriftKind
from app.core.store import Converter, StoreKind
from app.settings import StoreSettings

DATA = Path(__file__).parents[2] / "data"
PG = Side("pg", StoreKind.POSTGRES, "public", "b-pg")
MY = Side("my", StoreKind.MARIADB, "shop", "b-my")
IDS = {"pg": SchemaIds(1, 2, 3, 4), "my": SchemaIds(5, 6, 7, 8)}
STRETCH = Stretch(first=1_000, count=400, begin_us=7_000_000, per_s=200)
DRIFTING = replace(STRETCH, drifting=0.1)
UNTIL_US = STRETCH.end_us + 3_000_000


class Schemas:
    """A registry that knows the bench's schemas for one width."""

    def __init__(self, columns: int) -> None:
        self._by_id = {
            schema_id: schema
            for side in (PG, MY)
            for schema_id, schema in zip(IDS[side.name], schemas_of(side, columns), strict=True)
        }

    def schema(self, schema_id: int) -> object:
        """Return the schema of an id."""
        return self._by_id[schema_id]


def load(converter: Converter, columns: int, **more: object) -> Load:
    """Return a load of few keys."""
    return replace(Load(converter, columns, keys=50), **more)  # type: ignore[arg-type] # fields by name


def contract(asked: Load) -> EntityContract:
    """Return the bench's contract, read as the worker reads it."""
    stores = {
        name: StoreSettings(name, side.kind, side.prefix, asked.converter, told["host"], told["port"], told["database"])
        for side in (PG, MY)
        for name, told in [(side.name, stores_declared(asked, (PG, MY))[side.name])]
    }
    return read_contract("bench", json.dumps(contract_declared(asked, (PG, MY))), stores)


def log_of(side: Side, asked: Load) -> StoreLog:
    """Return a store's log."""
    return StoreLog(side, asked, IDS[side.name])


def decoder(side: Side, asked: Load) -> Decoder:
    """Return the product's decoder of a side's records."""
    return decoder_for(side.kind, asked.converter, "left-out", Schemas(asked.columns))


def decoded(side: Side, asked: Load, records: Iterator[Sent]) -> Iterator[tuple[Sent, ChangeEvent]]:
    """Yield records with what the product reads in them."""
    read = decoder(side, asked)
    for record in records:
        event = read.decode(record.key, record.value)
        assert event is not None
        yield record, event


def digests(side: Side, asked: Load, records: Iterator[Sent]) -> list[tuple[bytes, bytes]]:
    """Return key and digest of every row of the table, as the product makes them."""
    digester = RowDigester(contract(asked), side.name, BY_LOG[side.kind], bytes(32))
    return [
        (digester.canonical_key(event.after), digester.groups(event.after))
        for record, event in decoded(side, asked, records)
        if record.topic.endswith(".items") and event.after is not None
    ]


EVERY = [(converter, columns) for converter in (Converter.JSON, Converter.AVRO) for columns in COLUMNS]


@pytest.mark.parametrize(("converter", "columns"), EVERY)
def test_both_stores_show_the_same_rows(converter: Converter, columns: int) -> None:
    """Read by the product's decoder and digester: snapshots and changes agree, row by row."""
    asked = load(converter, columns)
    for records in ("snapshot", "stretch"):
        pg, my = (
            digests(side, asked, log.snapshot() if records == "snapshot" else log.stretch(STRETCH, UNTIL_US))
            for side in (PG, MY)
            for log in [log_of(side, asked)]
        )
        assert pg == my
        assert len(pg) == (50 if records == "snapshot" else 400)


@pytest.mark.parametrize(("converter", "columns"), EVERY)
def test_a_row_has_its_columns_and_half_of_them_are_compared(converter: Converter, columns: int) -> None:
    """The key is a column, and is not among the compared ones."""
    asked = load(converter, columns)
    for side in (PG, MY):
        _, event = next(decoded(side, asked, log_of(side, asked).snapshot()))
        assert event.after is not None
        assert len(event.after) == columns
        assert len(declared_fields(columns)) == columns // 2
        assert declared_fields(columns).keys() < event.after.keys()


def test_an_update_changes_its_row() -> None:
    """Two changes of one key that follow one another have unlike digests."""
    asked = load(Converter.JSON, 10, keys=1)
    found = digests(PG, asked, log_of(PG, asked).stretch(STRETCH, UNTIL_US))
    assert all(first != second for first, second in pairwise(found))


@pytest.mark.parametrize("converter", [Converter.JSON, Converter.AVRO])
def test_what_is_planted_differs_and_nothing_else(converter: Converter) -> None:
    """Per key: different digests, or a row on one side only, as the plan says."""
    asked = load(converter, 10)
    pg, my = (dict(digests(side, asked, log_of(side, asked).stretch(DRIFTING, UNTIL_US))) for side in (PG, MY))
    digester = RowDigester(contract(asked), "pg", BY_LOG[PG.kind], bytes(32))
    planted = {digester.canonical_key({"id": c.key}): c.planted for c in planted_in(asked, DRIFTING)}
    kinds = {
        key: DriftKind.MISSING if key not in my else DriftKind.EXTRA if key not in pg else DriftKind.DIFFERENT
        for key in pg.keys() | my.keys()
        if pg.get(key) != my.get(key)
    }
    assert kinds == planted
    assert set(kinds.values()) == {DriftKind.MISSING, DriftKind.EXTRA, DriftKind.DIFFERENT}
    assert 20 < len(planted) < 70


@pytest.mark.parametrize("side", [PG, MY])
@pytest.mark.parametrize("converter", [Converter.JSON, Converter.AVRO])
def test_places_rise_through_changes_and_beacons(side: Side, converter: Converter) -> None:
    """A snapshot stands at one place, and all that is streamed behind it, in the order of time."""
    asked = load(converter, 10)
    log = log_of(side, asked)
    snapshot = [event for _, event in decoded(side, asked, log.snapshot())]
    assert {event.reading for event in snapshot} == {Reading.INITIAL}
    assert len({event.place for event in snapshot}) == 1
    places = [event.place for _, event in decoded(side, asked, log.stretch(STRETCH, UNTIL_US))]
    assert places == sorted(set(places))
    assert places[0] > snapshot[0].place


@pytest.mark.parametrize("side", [PG, MY])
@pytest.mark.parametrize("converter", [Converter.JSON, Converter.AVRO])
def test_beacons_beat_twice_a_second_from_begin_to_end(side: Side, converter: Converter) -> None:
    """Each is one that the worker takes; the one of a snapshot is not streamed."""
    asked = load(converter, 10)
    log = log_of(side, asked)
    found = [
        beacon_of(side.name, event)
        for r, event in decoded(side, asked, log.stretch(STRETCH, UNTIL_US))
        if "driftline" in r.topic
    ]
    times = [beacon.issued_at_ms for beacon in found if beacon is not None and beacon.streamed]
    assert times == list(range(7_000, UNTIL_US // 1_000 + 1, 500))
    (read,) = (beacon_of(side.name, e) for r, e in decoded(side, asked, log.snapshot()) if "driftline" in r.topic)
    assert read is not None
    assert not read.streamed


def test_the_replica_follows_after_its_lag() -> None:
    """A beacon of the authority's moment stands before the replica's change in the replica's log."""
    one = Stretch(first=0, count=1, begin_us=1_000_000, per_s=1)
    asked = load(Converter.JSON, 10)
    kinds = {
        side.name: [
            "items" if r.topic.endswith("items") else "beacon" for r in log_of(side, asked).stretch(one, 1_500_000)
        ]
        for side in (PG, MY)
    }
    assert REPLICA_LAG_US < 500_000
    assert kinds == {"pg": ["beacon", "items", "beacon"], "my": ["beacon", "items", "beacon"]}
    assert one.end_us == 2_000_000 + REPLICA_LAG_US


@pytest.mark.parametrize(("file", "side"), [("postgres_events.jsonl", PG), ("mariadb_events.jsonl", MY)])
def test_envelopes_have_the_fields_of_real_ones(file: str, side: Side) -> None:
    """In the same order, in every block, with a transaction as real connectors write it."""
    real = next(
        told["value"] for told in map(json.loads, (DATA / file).read_text().splitlines()) if told["case"] == "update"
    )
    asked = load(Converter.JSON, 10)
    made = next(
        json.loads(r.value) for r in log_of(side, asked).stretch(STRETCH, UNTIL_US) if r.topic.endswith(".items")
    )
    assert list(made) == list(real)
    for block in ("source", "transaction"):
        assert list(made[block]) == list(real[block])
        assert {name: type(value) for name, value in made[block].items()} == {
            name: type(value) for name, value in real[block].items()
        }
    assert (made["before"] is None) == (side is PG)
    assert len(headers_of(side)) == 4


def test_updates_and_creates_are_told_apart() -> None:
    """A planted row is new, all others were there."""
    asked = load(Converter.JSON, 10)
    operations = {
        event.operation
        for r, event in decoded(PG, asked, log_of(PG, asked).stretch(DRIFTING, UNTIL_US))
        if r.topic.endswith(".items")
    }
    assert operations == {Operation.CREATE, Operation.UPDATE}


def test_the_same_seed_gives_the_same_changes_and_another_seed_others() -> None:
    """Both stores' processes make them for themselves."""
    asked = load(Converter.JSON, 10)
    assert list(changes(asked, DRIFTING)) == list(changes(asked, DRIFTING))
    assert list(changes(asked, DRIFTING)) != list(changes(replace(asked, seed=2), DRIFTING))
    assert list(changes(asked, DRIFTING)) != list(changes(asked, replace(DRIFTING, first=0)))


def picks(spread: Spread, keys: int, count: int) -> Counter[int]:
    """Return how often each key is picked."""
    asked = Load(keys=keys, spread=spread)
    return Counter(change.key for change in changes(asked, Stretch(0, count, 0, 1_000)))


def test_uniform_keys_are_even() -> None:
    """No key of a thousand gets twice its share, and none is left out."""
    counts = picks(Spread.UNIFORM, 1_000, 100_000)
    assert len(counts) == 1_000
    assert max(counts.values()) < 200


def test_zipf_keys_fall_off_with_their_rank() -> None:
    """The n-th hottest key is picked about 1/n as often, the hottest by some percent of all; they lie scattered."""
    counts = [count for _, count in picks(Spread.ZIPF, 200_000, 200_000).most_common()]
    assert 0.04 < counts[0] / 200_000 < 0.08
    assert 5 < counts[0] / counts[9] < 20
    assert 50 < counts[0] / counts[99] < 200
    hottest = [key for key, _ in picks(Spread.ZIPF, 200_000, 20_000).most_common(4)]
    assert all(0 <= key < 200_000 for key in hottest)
    assert min(abs(a - b) for a in hottest for b in hottest if a != b) > 100
