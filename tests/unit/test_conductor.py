"""The conductor's process against stores and topics in memory."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from app.codec.control import decode_control, encode_control
from app.codec.records import FixedSchemas, RecordCodec
from app.codec.rereads import Seal, decode_done, encode_done
from app.codec.slice_signals import SignalForm, SignalRow, SliceWord, slice_id, word_of
from app.codec.told_topics import ToldTopics
from app.conductor.run import Conductor, Feeds, SliceStore
from app.core.conducting import Bound, Concluded, Desk, Done, Key, Look, Outcome, Part, Slice, Terms
from app.core.errors import DriftlineError, Undecodable, Unready
from app.core.event import ChangeEvent, Operation, Reading
from app.core.finding import DriftKind, Evidence, Finding, Stage, Verdict
from app.core.published import PublishedFinding
from app.core.status import Coverage, StatusReport
from app.core.switch import Control, Said
from tests.unit.core.story import contract

ROWS = 950
SLICE_ROWS = 100
STATUS = StatusReport("t", "R", False, 0, Coverage.COVERED, 9_500, None, 10_000, 0)
CODEC = RecordCodec("d", FixedSchemas())
GAP = Finding(
    b"gap", Stage.NOTED, Verdict.DRIFT, DriftKind.CAPTURE_GAP, "deep/1", 1, "t", "A", "R", b"", 0, 0,
    Evidence((), (), 0, 0, 0, 0, 0), b"", b"", b"", b"", 0, b"", 0, b"", b"",
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """One record of a topic."""

    topic: str
    key: bytes | None
    value: bytes | None


class JsonDecoder:
    """Reads `{"id", "read"}`."""

    def decode(self, key: bytes | None, value: bytes | None) -> ChangeEvent | None:
        """Return the change; a read of a row where `incremental` says so."""
        del key
        try:
            told = json.loads(value or b"")
        except ValueError as error:
            raise Undecodable("json", "no JSON") from error
        reading = Reading.INCREMENTAL if told["incremental"] else Reading.LIVE
        operation = Operation.READ if told["incremental"] else Operation.CREATE
        after = {"id": told["id"]}
        return ChangeEvent(operation, reading, "", after, None, after, told["place"].to_bytes(17, "big"), "", 0)

    def key_of(self, key: bytes | None) -> Mapping[str, object] | None:
        """Read no key."""
        del key
        return None


class Connector(SliceStore):
    """A store of rows 1 to `ROWS` with a connector that obeys its signals; `skips` reads nothing of the table."""

    signal_table = "driftline.driftline_signal"
    form = SignalForm.SQL

    def __init__(self) -> None:
        self.read: Counter[int] = Counter()
        self.words: list[SliceWord] = []
        self.coming: list[Record | None] = []
        self.skips = self.is_down = self.is_closed = False
        self.place = 0

    def bound(self, look: Look) -> Bound:
        """Return the last of the next rows."""
        if self.is_down:
            raise Unready("the store is down")
        after = int(look.after[0]) if look.after else 0
        rows = min(look.rows, ROWS - after)
        return Bound((str(after + rows),) if after + look.rows <= ROWS else (), rows, 1.0)

    def condition(self, part: Part, after: Key, end: Key) -> str:
        """Return the numbers as text."""
        del part
        return f"{after[0] if after else 0}:{end[0] if end else ROWS}"

    def signal(self, row: SignalRow) -> None:
        """Let the connector read what is asked for, or keep the word."""
        if self.is_down:
            raise Unready("the store is down")
        if row.type == "log":
            word = word_of({"id": row.id, "type": row.type, "data": row.data})
            assert word is not None
            self.words.append(word)
            return
        self._tell("signal", row.id, incremental=False)
        after, end = map(int, json.loads(row.data)["additional-conditions"][0]["filter"].split(":"))
        for number in range(after + 1, end + 1):
            if not self.skips:
                self.read[number] += 1
                self._tell("R.t", number, incremental=True)
        self._tell("signal", row.id, incremental=True)

    def _tell(self, topic: str, name: object, *, incremental: bool) -> None:
        self.place += 1
        value = json.dumps({"id": name, "incremental": incremental, "place": self.place})
        self.coming.append(Record(topic, None, value.encode()))

    def close(self) -> None:
        """Note it."""
        self.is_closed = True


@dataclass
class Told:
    """Remembers what the process says."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    down: int = 0
    unreadable_topics: list[str] = field(default_factory=list)

    def began(self, store: str, begun: Slice) -> None:
        """Say nothing."""

    def concluded(self, store: str, concluded: Concluded) -> None:
        """Count it."""
        del store
        self.outcomes[concluded.outcome] += 1

    def store_is_down(self, store: str, fault: DriftlineError) -> None:
        """Count it."""
        del store, fault
        self.down += 1

    def unreadable(self, topic: str, fault: Undecodable) -> None:
        """Note it."""
        del fault
        self.unreadable_topics.append(topic)


def unsealed(entity: str, value: bytes) -> bytes:
    """Seal nothing."""
    del entity
    return value


_SEAL: Seal = unsealed


class World:
    """One conductor over one store; time goes on by a second whenever nothing comes."""

    def __init__(self, store: Connector, topic: dict[str, bytes], *, rows_per_second: float = 10_000.0) -> None:
        self.store, self.topic, self.told = store, topic, Told()
        self.now_ms = 0
        self.slices = iter(range(1, 10_000))
        terms = Terms(rows_per_second, SLICE_ROWS, (), 10**12, 5_000)
        self.desk = Desk.of("R", [contract(pipeline=False)], terms, 1, 0)
        self.desk.resume([decode_done(value, _SEAL) for value in topic.values()] or [Done("t", "R", finished=1)])
        decoder = JsonDecoder()
        self.conductor = Conductor(
            desks={"R": self.desk},
            stores={"R": store},
            feeds=Feeds(
                ToldTopics("status", "drifts", CODEC),
                "control",
                decode_control,
                {"signal": ("R", decoder)},
                {"R.t": ("R", decoder)},
            ),
            keep=self._keep,
            new_slice_id=lambda: slice_id(next(self.slices)),
            monotonic_ms=lambda: self.now_ms,
            wall_ms=lambda: self.now_ms,
            tell=self.told,
        )

    def _keep(self, done: Done) -> None:
        self.topic[f"{done.entity}/{done.store}"] = encode_done(done, _SEAL)

    def run(self, *records: Record, turns: int = 100, until_words: int = 10**9) -> None:
        """Let records come and then whatever the connector sends, until nothing comes for so many turns."""

        def coming() -> Iterator[Record | None]:
            yield Record("status", None, CODEC.status(STATUS))
            yield from records
            silent = 0
            while silent < turns and len(self.store.words) < until_words:
                if self.store.coming:
                    silent = 0
                    yield self.store.coming.pop(0)
                else:
                    silent += 1
                    self.now_ms += 1_000
                    yield None

        self.conductor.run(coming())


def test_a_table_is_read_whole_and_every_key_is_in_one_word() -> None:
    """Each row once; the words' ranges touch each other and leave out nothing."""
    world = World(Connector(), {})
    world.run()
    assert world.store.read == dict.fromkeys(range(1, ROWS + 1), 1)
    ranges = [(word.low, word.high) for word in world.store.words]
    assert (ranges[0][0], ranges[-1][1]) == (b"", b"")
    assert [high for _, high in ranges[:-1]] == [low for low, _ in ranges[1:]]
    assert world.desk.done["t"].whole_rows == ROWS
    assert world.store.is_closed


def test_a_killed_conductor_goes_on_where_it_was() -> None:
    """From what it has published alone, and it reads at most the slice again that it was at."""
    topic: dict[str, bytes] = {}
    first = World(Connector(), topic)
    first.run(until_words=4)
    second = World(Connector(), topic)
    second.run()
    read_twice = [n for n in range(1, ROWS + 1) if first.store.read[n] and second.store.read[n]]
    assert first.store.read.keys() | second.store.read.keys() == set(range(1, ROWS + 1))
    assert len(read_twice) <= SLICE_ROWS
    assert first.desk.done["t"].whole_rows == 0
    assert second.desk.done["t"].whole_rows == ROWS


def test_a_table_that_the_connector_skips_is_never_called_whole() -> None:
    """Its signal's own row is read all the same; without rows that proves nothing, and no word is said."""
    store = Connector()
    store.skips = True
    world = World(store, {})
    world.run()
    assert store.words == []
    assert world.desk.done["t"].whole_unproven == ROWS // SLICE_ROWS + 1
    assert set(world.told.outcomes) == {Outcome.AGAIN, Outcome.UNPROVEN}


def test_a_store_that_is_down_is_asked_again() -> None:
    """A word that it could not take is said later, before the progress is kept."""
    store, topic = Connector(), dict[str, bytes]()
    world = World(store, topic)
    world.run(until_words=1)
    kept = dict(topic)
    store.is_down = True
    world.run(turns=12)
    assert world.told.down >= 2
    assert topic == kept
    store.is_down = False
    world.run()
    assert world.desk.done["t"].whole_rows == ROWS
    assert len({word.slice_id for word in store.words}) == len(store.words)


def test_a_budget_is_kept() -> None:
    """Some thousand rows at a hundred a second take ten seconds, but for the first second's."""
    world = World(Connector(), {}, rows_per_second=100.0)
    world.run(turns=1)
    assert len(world.store.words) < ROWS // SLICE_ROWS
    began_ms = world.now_ms
    world.run(turns=20)
    assert world.desk.done["t"].whole_rows == ROWS
    whole_ms = world.desk.done["t"].whole_wall_ms
    assert 8_000 <= whole_ms <= 12_000, (began_ms, whole_ms)


def test_what_cannot_be_read_is_told_and_passed_over() -> None:
    """And gaps are counted once, however often their record comes."""
    world = World(Connector(), {})
    bad = [Record(topic, None, b"incremental?") for topic in ("signal", "R.t")]
    gap = Record("drifts", None, CODEC.finding(PublishedFinding(GAP, b"", b"")))
    world.run(*bad, gap, gap)
    assert world.told.unreadable_topics == ["signal", "R.t"]
    assert world.desk.done["t"].gaps == decode_done(world.topic["t/R"], _SEAL).gaps == 1
    assert world.desk.done["t"].whole_rows == ROWS


def test_a_table_without_reports_waits() -> None:
    """Nothing is asked of a store before a worker has said that its log is known."""
    world = World(Connector(), {})
    world.desk.seen_status(replace(STATUS, coverage=Coverage.UNCOVERED))
    world.conductor.step()
    assert world.store.coming == []


def test_the_tables_of_a_quarantined_shard_are_read_again_at_once() -> None:
    """Without their rest and once, by a pass that begins since; by no other word."""
    world = World(Connector(), {})
    world.run()
    assert world.desk.done["t"].finished == 2
    for passes, word in (
        (2, Control(Said.RESUME, "anna", world.now_ms, shard="t/R/0")),
        (2, Control(Said.PAUSE, "ada", world.now_ms)),
        (2, Control(Said.PAUSE, "ada", world.now_ms, shard="others/R/0")),
        (3, Control(Said.PAUSE, "the applier", world.now_ms, "drift", shard="t/R/0")),
    ):
        world.run(Record("control", None, encode_control(replace(word, at_ms=world.now_ms - 1))))
        assert world.desk.done["t"].finished == passes
    assert world.desk.done["t"].whole_begun_wall_ms >= word.at_ms
    assert set(world.store.read.values()) == {2}


def test_a_word_from_the_future_does_not_have_tables_read_for_ever() -> None:
    """Anybody may stop a shard, and nobody's clock keeps the conductor busy by it."""
    world = World(Connector(), {})
    world.run(Record("control", None, encode_control(Control(Said.PAUSE, "eve", 10**15, shard="t/R/0"))))
    passes = world.desk.done["t"].finished
    world.run()
    assert world.desk.done["t"].finished == passes
