"""What is read column by column, and what is kept of keys. That the rows are right is in tests/property."""

from __future__ import annotations

from functools import partial

import pytest

from app.agents.known_keys import KEPT_BYTES_MAX, KeyPlaces, KnownKeys
from app.agents.rows import CHUNK_RECORDS, RowReader
from app.bench.load import Load
from app.codec.typed_json import unpack_json_keys
from app.codec.typed_reader import typed_reader_for
from app.core.dialects import BY_LOG
from app.core.digest import RowDigester
from app.core.errors import Unready
from app.core.store import Converter, StoreKind
from tests.benchmarks.traffic import SIDES, Schemas, contract, records

KEY = bytes(range(32))
PARTITIONS = 4


@pytest.mark.parametrize("kind", SIDES)
@pytest.mark.parametrize("columns", [10, 40])
@pytest.mark.parametrize("converter", [Converter.JSON, Converter.AVRO])
def test_usual_changes_need_no_closer_look(kind: StoreKind, columns: int, converter: Converter) -> None:
    """Updates as Debezium writes them all go the quick way; if they did not, only the speed would tell."""
    load = Load(converter, columns, keys=50)
    store, of = SIDES[kind].name, contract(load)
    typed = partial(typed_reader_for, kind, converter, "left-out", Schemas(kind, load))
    reader = RowReader(of, store, RowDigester(of, store, BY_LOG[kind], KEY), KEY, PARTITIONS, typed=typed)
    plain = reader.plain(list(records(kind, load, 300)))
    assert plain.left == []
    assert plain.at == list(range(300))


class _Away:
    """A registry that does not answer; counts how often it is asked."""

    asked = 0

    def schema(self, schema_id: int) -> object:
        """Answer nothing."""
        self.asked += 1
        raise Unready(f"nobody says what schema {schema_id} is")


def test_a_registry_that_is_away_is_asked_once_a_block() -> None:
    """Asking takes time in which nothing else is done; who decodes the records knows how to wait."""
    load, away = Load(Converter.AVRO, keys=50), _Away()
    kind, of = StoreKind.POSTGRES, contract(load)
    typed = partial(typed_reader_for, kind, Converter.AVRO, "left-out", away)
    reader = RowReader(of, "pg", RowDigester(of, "pg", BY_LOG[kind], KEY), KEY, PARTITIONS, typed=typed)
    plain = reader.plain(list(records(kind, load, CHUNK_RECORDS + 5)))
    assert plain.left == list(range(CHUNK_RECORDS + 5))
    assert away.asked == 1


def _known(kept_max: int) -> KnownKeys:
    digester = RowDigester(contract(Load()), "pg", BY_LOG[StoreKind.POSTGRES], KEY)
    return KnownKeys(unpack_json_keys, KeyPlaces(digester, ["id"], KEY, 7, PARTITIONS), kept_max)


def _raw(number: int) -> bytes:
    return b'{"id":%d}' % number


def test_keys_are_the_same_however_often_they_are_asked_for() -> None:
    """What is kept, what was kept and what is new are told alike, in the order of the question."""
    known, fresh = _known(20), _known(0)
    for start in range(0, 60, 5):
        asked = [_raw(n % 17) for n in range(start, start + 9)]
        assert known.of(asked) == fresh.of(asked)


@pytest.mark.parametrize("at_once", [1, 7, 500])
def test_kept_keys_are_bounded(at_once: int) -> None:
    """However many keys come, one by one or at once, no more are kept than the limit says."""
    known = _known(100)
    for start in range(0, 2_000, at_once):
        known.of([_raw(n) for n in range(start, start + at_once)])
        assert known.kept <= 100
    assert known.kept >= 50


def test_long_keys_are_not_kept() -> None:
    """The number of kept keys bounds their memory only if each is small."""
    known = _known(100)
    assert known.of([b'{"id":1,"x":"%b"}' % (b"x" * KEPT_BYTES_MAX)])[0] is not None
    assert known.kept == 0
