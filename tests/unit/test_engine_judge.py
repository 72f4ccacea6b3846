"""The judge of the engine drill notices each kind of fault, and says nothing where there is none."""

from __future__ import annotations

import ast
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from drill_parts.envelopes import MariadbLog, PostgresLog, Row, change
from engine_judge.findings import Findings, Told, ToldDrift
from engine_judge.judge import Judgement, compare
from engine_judge.links import links_of
from engine_judge.moments import Beacons, Place
from engine_judge.offsets import Receiver, ahead
from engine_judge.rebuild import StoreHistory, history_of
from engine_judge.rows import Digester, hash_of_key, key_bytes, number_of, read_change
from engine_judge.state import HeldRow, HeldSide, is_swept, reached, read_row
from engine_judge.topics import Record

from app.codec.blocks import pack
from app.codec.contract_file import number_of as number_of_the_product
from app.codec.envelope import decoder_for
from app.core.contract import EntityContract, Field, FieldKind, FieldType, KeyField, Replica, StoreTable
from app.core.digest import RowDigester, keyed_hash
from app.core.finding import Stage
from app.core.journal import chain_record, entity_record
from app.core.keystate import KeyState, OpenDrift
from app.core.observation import Barrier, Beacon, Link, Mark, RowBlock, SliceRead
from app.core.progress import Chain, EntityProgress
from app.core.state_forms import encode
from app.core.store import Converter, StoreKind
from app.core.types.canonical import Dialect
from app.core.verdict import EVER, Stay

ROOT = Path(__file__).parents[2]
KEY = bytes(range(32))
DIGESTER = Digester(KEY, "items", 1)
FIRST = Row("first", 1250, -3, 1_700_000_000_123_456, is_open=True, note=None)
SECOND = Row("sécond", 5, 7, 1_700_000_001_000_000, is_open=False, note="a note")
FOREIGN = Row("foreign", 1, 1, 1, is_open=False, note="")


@dataclass
class World:
    """Two logs of four rows, a beacon each half second, and what honest workers would hold and tell."""

    authority: PostgresLog = field(default_factory=lambda: PostgresLog("pg.items", "pg.beacon"))
    replica: MariadbLog = field(default_factory=lambda: MariadbLog("my.items", "my.beacon"))

    def __post_init__(self) -> None:
        self.beacons = (Beacons(), Beacons())
        self.records: tuple[list[Record], list[Record]] = ([], [])
        for number in range(1, 5):
            self.write(0, number, FIRST, "r")
            self.write(1, number, FIRST, "r")
        self.beat(4)
        self.write(0, 2, SECOND, "u")
        self.write(1, 2, SECOND, "u")
        self.write(0, 4, None, "d")
        self.write(1, 4, None, "d")
        self.beat(4)

    def write(self, store: int, number: int, row: Row | None, operation: str) -> None:
        """Write one change."""
        records = self.records[store]
        for sent in change((self.authority, self.replica)[store], number, row, operation):
            offset = sum(record.partition == sent.partition for record in records)
            records.append(Record(sent.partition, offset, sent.key, sent.value))

    def beat(self, times: int = 1) -> None:
        """Write beacons into both logs."""
        for _ in range(times):
            issued_ms = 500 * (len(self.beacons[0].places) + 1)
            for log in (self.authority, self.replica):
                log.source("driftline_beacon", snapshot=False)
            places: tuple[Place, Place] = (
                (self.authority.lsn - 40, self.authority.lsn),
                (self.replica.file, self.replica.pos, 0),
            )
            for beacons, place in zip(self.beacons, places, strict=True):
                beacons.add(place, issued_ms, issued_ms - 470)

    def histories(self) -> tuple[StoreHistory, StoreHistory]:
        """Rebuild both stores."""
        authority, replica = (
            history_of(records, beacons, DIGESTER) for records, beacons in zip(self.records, self.beacons, strict=True)
        )
        return authority, replica

    def held(self) -> dict[int, HeldRow]:
        """Return what honest workers hold."""
        authority, replica = self.histories()
        rows = {}
        for number in (1, 2, 3):
            newest = (authority.stays(number)[-1], replica.stays(number)[-1])
            sides = tuple(HeldSide(stay.digest, stay.partition, stay.offset) for stay in newest)
            rows[number] = HeldRow(sides, None)
        return rows

    def judged(self, held: dict[int, HeldRow], told: list[ToldDrift]) -> Judgement:
        """Compare."""
        hashes = {number: hash_of_key(KEY, "items", number) for number in range(1, 6)}
        return compare(*self.histories(), held, told, window_ms=2_000, hashes=hashes)


def _drift(number: int, deadline_ms: int, *stages: str, kind: str = "different", drift_id: bytes = b"1") -> ToldDrift:
    return ToldDrift(drift_id, hash_of_key(KEY, "items", number), kind, deadline_ms, list(stages))


@pytest.fixture
def world() -> World:
    """Give a world in which the stores agree."""
    return World()


@pytest.fixture
def damaged() -> World:
    """Give a world in which row 3 of the replica was damaged at its ninth beacon, and nobody mended it."""
    made = World()
    made.write(1, 3, FOREIGN, "u")
    made.beat(12)
    return made


# The beacon behind the damage was acknowledged at 4,530 ms; until then the row was vouched for.
DEADLINE_MS = 6_530


def test_honest_workers_have_no_fault(world: World, damaged: World) -> None:
    """Rows that agree, a row that is gone from both stores, and a drift told once and once more by a restart."""
    assert world.judged(world.held(), []).faults == []
    held = damaged.held()
    held[3] = replace(held[3], open_drift=b"1")
    judged = damaged.judged(held, [_drift(3, DEADLINE_MS, "confirmed", "confirmed", "overtaken")])
    assert judged.faults == []
    assert (judged.rows, judged.drifts, judged.open_drifts) == (4, 1, 1)


def test_a_row_that_comes_back_is_over(damaged: World) -> None:
    """A mended row must be told as over, and no drift of it may be held open."""
    damaged.write(1, 3, FIRST, "u")
    damaged.beat(8)
    assert damaged.judged(damaged.held(), [_drift(3, DEADLINE_MS, "confirmed", "resolved")]).faults == []
    left_open = damaged.judged(damaged.held(), [_drift(3, DEADLINE_MS, "confirmed")])
    assert set(left_open.counts) == {"a wrong end"}


def test_changes_that_a_connector_sends_again_change_nothing(damaged: World) -> None:
    """A restarted connector repeats the end of its log; what was known stays where it was."""
    before = damaged.held()
    damaged.records[1].append(damaged.records[1][2]._replace(offset=99))
    assert damaged.held() == before
    assert damaged.histories()[1].sent_again == 1


def _lost(held: dict[int, HeldRow]) -> None:
    del held[1]


def _side_changed(held: dict[int, HeldRow], side: HeldSide) -> None:
    held[2] = replace(held[2], sides=(held[2].sides[0], side))


def _wrong_digest(held: dict[int, HeldRow]) -> None:
    _side_changed(held, replace(held[2].sides[1], digest=held[1].sides[1].digest))


def _wrong_offset(held: dict[int, HeldRow]) -> None:
    _side_changed(held, replace(held[2].sides[1], offset=held[2].sides[1].offset + 1))


def _kept_though_deleted(held: dict[int, HeldRow]) -> None:
    held[4] = held[1]


def _from_nowhere(held: dict[int, HeldRow]) -> None:
    held[77] = held[1]


def _open_for_nothing(held: dict[int, HeldRow]) -> None:
    held[1] = replace(held[1], open_drift=b"9")


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (_lost, "a lost row"),
        (_wrong_digest, "a wrong digest"),
        (_wrong_offset, "a wrong offset"),
        (_kept_though_deleted, "a row too many"),
        (_from_nowhere, "a row that no log has"),
        (_open_for_nothing, "a wrong open drift"),
    ],
)
def test_wrong_state_is_noticed(world: World, spoil: Callable[[dict[int, HeldRow]], None], fault: str) -> None:
    """Each kind of wrong state is named as what it is, and nothing else is."""
    held = world.held()
    spoil(held)
    assert set(world.judged(held, []).counts) == {fault}


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ([], "a missing verdict"),
        ([_drift(3, DEADLINE_MS, "confirmed", kind="stale")], "a wrong kind"),
        ([_drift(3, DEADLINE_MS, "confirmed", "resolved")], "a wrong end"),
        ([_drift(3, DEADLINE_MS + 1, "confirmed")], "a verdict that nothing supports"),
        (
            [_drift(3, DEADLINE_MS, "confirmed"), _drift(3, DEADLINE_MS, "confirmed", drift_id=b"2")],
            "a verdict under two ids",
        ),
        ([_drift(3, DEADLINE_MS, "confirmed"), _drift(1, 3_000, "confirmed", drift_id=b"2")], "that nothing supports"),
        ([_drift(99, DEADLINE_MS, "confirmed")], "a verdict on no row"),
    ],
)
def test_wrong_verdicts_are_noticed(damaged: World, told: list[ToldDrift], fault: str) -> None:
    """A verdict that is missing, doubled, wrong, or about nothing is a fault."""
    held = damaged.held()
    held[3] = replace(held[3], open_drift=b"1")
    assert any(fault in kind for kind in damaged.judged(held, told).counts)


def test_a_drift_told_in_two_ways_is_noticed() -> None:
    """All records of one id must speak of one row, one kind and one deadline, and begin with its confirmation."""
    findings = Findings(ROOT / "schemas" / "finding.avsc")
    findings.take(Told(b"1", b"row", "confirmed", "stale", 5_000))
    findings.take(Told(b"1", b"row", "confirmed", "stale", 5_000))
    assert findings.broken == []
    findings.take(Told(b"1", b"row", "resolved", "missing", 5_000))
    findings.take(Told(b"2", b"row", "resolved", "stale", 9_000))
    assert [told.split(" ", 2)[2] for told in findings.broken] == ["is told in two ways", "begins with resolved"]


# -- offsets that are ahead of their effects -----------------------------------------------------------------------


def _receiver() -> Receiver:
    receiver = Receiver()
    receiver.heard(0, [("t", 0, 0, 10)])
    receiver.heard(1, [("t", 0, 10, 20)])
    receiver.taken_in = {("t", 0): 10}
    return receiver


def test_committed_offsets_up_to_their_effects_are_no_fault() -> None:
    """All that is committed of the changes was told, and all that is committed of what was told was taken in."""
    receiver = _receiver()
    receiver.commit(1)
    assert ahead({("t", 0): 20}, {0: receiver}) == []


def test_an_offset_of_changes_that_was_not_told_to_every_receiver_is_noticed() -> None:
    """It is enough that one receiver was not told."""
    other = Receiver()
    other.heard(0, [("t", 0, 0, 19)])
    assert ahead({("t", 0): 20}, {0: _receiver(), 1: other}) == ["t[0] is committed at 20, but receiver 1 was told 19"]


def test_an_offset_of_observations_that_is_not_in_the_changelog_is_noticed() -> None:
    """What was committed of the second hop must be in the changelog."""
    receiver = _receiver()
    receiver.commit(2)
    (fault,) = ahead({}, {0: receiver})
    assert fault == "observations[0] is committed beyond t[0] at 20, but its changelog has 10"


def test_a_link_behind_a_gap_tells_nothing() -> None:
    """A block that was lost cannot be made good by a later mark."""
    receiver = Receiver()
    receiver.heard(0, [("t", 0, 0, 10)])
    receiver.heard(1, [("t", 0, 11, 20)])
    assert ahead({("t", 0): 20}, {0: receiver}) == ["t[0] is committed at 20, but receiver 0 was told 10"]


# -- what the judge knows of the product's formats ----------------------------------------------------------------


def _contract() -> EntityContract:
    kinds = (
        ("name", FieldType(FieldKind.STRING)),
        ("price", FieldType(FieldKind.DECIMAL, scale=2)),
        ("quantity", FieldType(FieldKind.INT32)),
        ("placed_at", FieldType(FieldKind.INSTANT)),
        ("open", FieldType(FieldKind.BOOL)),
        ("note", FieldType(FieldKind.STRING)),
    )
    stores = (StoreTable("pg", "public.items", "t", 3), StoreTable("my", "shop.items", "u", 3))
    return EntityContract(
        entity="items",
        number=number_of_the_product("items"),
        version=1,
        authority="pg",
        stores=stores,
        replicas=(Replica("my", 2_000, 20_000),),
        key=(KeyField("id", FieldType(FieldKind.INT64), {"pg": "id", "my": "id"}),),
        fields=tuple(Field(name, kind, {"pg": name, "my": name}) for name, kind in kinds),
    )


@pytest.mark.parametrize("row", [FIRST, SECOND, FOREIGN])
@pytest.mark.parametrize(
    ("log", "kind", "dialect"),
    [
        (PostgresLog("t", "b"), StoreKind.POSTGRES, Dialect.POSTGRES_CDC),
        (MariadbLog("u", "b"), StoreKind.MARIADB, Dialect.BINLOG_CDC),
    ],
)
def test_the_judge_digests_as_the_product_does(
    log: PostgresLog | MariadbLog, kind: StoreKind, dialect: Dialect, row: Row
) -> None:
    """Written twice and apart, from either connector's spelling: the same bytes."""
    (sent,) = change(log, 300, row, "u")
    event = decoder_for(kind, Converter.JSON, "none").decode(sent.key, sent.value)
    read = read_change(sent.value)
    assert event is not None
    assert event.after is not None
    assert read is not None
    product = RowDigester(_contract(), log.name, dialect, KEY)
    assert DIGESTER.of(read.row) == product.groups(event.after)
    assert key_bytes(300) == product.canonical_key(event.after)
    assert hash_of_key(KEY, "items", 300) == keyed_hash(KEY, number_of("items"), key_bytes(300))


def _states() -> Iterator[KeyState]:
    state = KeyState.new(2)
    state.past = [bytes([5]) * 16]
    for number, side in enumerate(state.sides):
        side.raw_keys, side.groups = bytes(8), bytes(32) if number else b""
        side.stays += [
            Stay(bytes([n]) * 16, bytes(20), partition=number, offset=70 + n, transaction=5) for n in (1, 2 + number)
        ]
    yield state
    for stage in Stage:
        state.replicas[0].drift = OpenDrift(b"d" * 16, stage, 5, "stale", command_id=b"c" * 16)
        yield state


def test_the_judge_reads_the_state_that_the_product_writes() -> None:
    """The newest state of each store with its place in Kafka, and a drift that is not over."""
    rows = [read_row(encode(state)) for state in _states()]
    sides = (HeldSide(bytes([2]) * 16, 0, 72), HeldSide(bytes([3]) * 16, 1, 73))
    assert [row.sides for row in rows] == [sides] * len(rows)
    assert [row.open_drift for row in rows] == [None, *[b"d" * 16] * 3, None, None, None, None]


def test_the_judge_reads_a_row_at_rest() -> None:
    """The short form that nearly all rows have: present in one store, absent in the other."""
    state = KeyState.new(2)
    state.sides[0].stays = [Stay(bytes([7]) * 16, bytes(20), EVER, EVER, 3, 70, 5)]
    assert len(encode(state)) < 150
    assert read_row(encode(state)).sides == (HeldSide(bytes([7]) * 16, 3, 70), HeldSide(b"", -1, -1))


def test_the_judge_reads_what_the_workers_note_of_their_progress() -> None:
    """How far a partition of changes was taken in, and whether all rows of all replicas were judged."""
    progress = EntityProgress.new(_contract())
    key, value = entity_record(progress)
    assert value is not None
    assert is_swept(key, value) is False
    progress.base_ms, progress.swept = [5], [True]
    key, value = entity_record(progress)
    assert value is not None
    assert is_swept(key, value) is True
    key, value = chain_record(Link("t", 2, 0, 9), Chain(9))
    assert value is not None
    assert (reached(key, value), is_swept(key, value)) == (("t", 2, 9), None)


def test_a_state_of_another_format_is_refused() -> None:
    """A judge that reads nonsense would find nothing."""
    with pytest.raises(ValueError, match="format"):
        read_row(struct.pack(">BBB", 99, 2, 0))


def test_the_judge_reads_the_links_that_the_product_sends() -> None:
    """Of blocks, marks and barriers."""
    link = Link("t", 1, 5, 9)
    block = RowBlock(7, 0, link, 1, [b"k"], bytes(8), b"\x01", bytes(17), [5], [0], bytes(16))
    barrier = Barrier(Beacon("pg", 1, 1, 1, 1, bytes(17), streamed=True, server="s"), link, [("t", 1, 9)])
    read = SliceRead(7, 0, link, b"s", b"", b"", bytes(17), bytes(17))
    told = [links_of(pack(observation)) for observation in (block, Mark([link, link]), barrier, read)]
    wanted = ("t", 1, 5, 9)
    assert [list(links) for links in told] == [[wanted], [wanted, wanted], [wanted], [wanted]]


@pytest.mark.parametrize("package", ["engine_judge", "judge_parts", "drill_parts"])
def test_the_judges_import_nothing_of_the_product(package: str) -> None:
    """Not even inside a function: what judges must not share a mistake with what is judged."""
    files = sorted((ROOT / "scripts" / package).glob("**/*.py"))
    assert files
    for file in files:
        assert "app" not in _roots_imported(file.read_text()), file


def test_an_import_within_a_function_is_seen() -> None:
    """The check itself must notice."""
    assert "app" in _roots_imported("def f():\n    from app.core import digest\n")
    assert "app" in _roots_imported("import app.core.digest as d\n")


def _roots_imported(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return found
