"""What MongoDB's snapshots, documents and rights ask for beyond the common suite, on a server of its protocol.

MongoDB's own server is not at hand. Where the one of these tests is known to differ, the test says so.
"""

from __future__ import annotations

import collections
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Binary, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp, json_util
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
from pymongo import monitoring
from pymongo.client_session import ClientSession
from pymongo.errors import AutoReconnect, BulkWriteError, OperationFailure, PyMongoError

from app.adapters.mongodb_documents import LOSSLESS, document_of_image
from app.adapters.mongodb_refusals import WriteFailed, translated
from app.adapters.mongodb_rows import MongodbRows
from app.applier.failpoints import no_failpoint
from app.applier.rehearse import Rehearsing
from app.codec.envelope import decoder_for
from app.codec.mongodb import image_of
from app.core.canonical_key import key_writer
from app.core.command import VALUE_WAITS_MS, Action, CommandOutcome, Outcome, RefusalReason, RepairCommand, command_id
from app.core.contract import FieldKind, FieldType
from app.core.digest import Dialect, RowDigester, row_digest
from app.core.errors import ContractViolation, Unready
from app.core.guard import Limits, Refused
from app.core.ledger import LedgerKind
from app.core.shard import shard_of
from app.core.store import Converter, StoreKind
from app.core.undo import undo_of
from app.ports import UNREADABLE, RowRead, RowsRefused, RowWrite, Way
from tests.contract.mongodb_process import Server, running_standalone
from tests.contract.mongodb_world import STORE, MongodbWorld, mongodb_contract, mongodb_settings
from tests.contract.row_worlds import DIGEST_KEY, ENTITY, key_of, thing
from tests.contract.test_rows import ledger_row
from tests.seals import SEALS
from tests.signatures import ANNA, BELIEF, PlannedApplier, signed

pytestmark = pytest.mark.stack

EVENTS = Path(__file__).parents[1] / "data" / "mongodb_events.jsonl"
NOW_MS = 1_800_000_000_000
KEY = key_of(1)
HEX = "65a1b2c3d4e5f60718293a4b"
TEXT_KEY = FieldType(FieldKind.STRING)
JSON = FieldType(FieldKind.JSON)


@pytest.fixture
def make(mongodb_server: Server, tmp_path: Path) -> Iterator[Callable[..., MongodbWorld]]:
    """Yield a maker of worlds of things in MongoDB."""
    made: list[MongodbWorld] = []

    def maker(**contract: Any) -> MongodbWorld:  # noqa: ANN401 - what `mongodb_contract` takes
        made.append(MongodbWorld(mongodb_server, tmp_path, **contract))
        return made[-1]

    yield maker
    for world in made:
        world.close()


@pytest.fixture
def world(make: Callable[..., MongodbWorld]) -> MongodbWorld:
    """Return things in MongoDB."""
    return make()


@dataclass
class Repairs:
    """Repairs of things by what another collection shows, which stands for their authority."""

    world: MongodbWorld
    drifts: int = 0

    def __post_init__(self) -> None:
        """Read the authority by an adapter of its own."""
        self.there = self.world.another("pg")
        self.shown = self.world.shop["authority"]

    def show(self, document: dict[str, Any] | None, key: object = 1) -> None:
        """Let the authority have a document, or none."""
        self.shown.delete_one({"_id": key})
        if document is not None:
            self.shown.insert_one({**document, "_id": key})

    def command(self, key: bytes = KEY, partition: int = 0) -> RepairCommand:
        """Plan a repair of what stands there now."""
        self.drifts += 1
        finding_id = self.drifts.to_bytes(16, "big")
        (expected,) = self.world.store.read([(ENTITY, key)])
        (intended,) = self.there.read([(ENTITY, key)])
        return RepairCommand(
            command_id=command_id(finding_id, STORE, expected.digest, intended.digest),
            finding_id=finding_id,
            incident_id=b"",
            entity=ENTITY,
            contract_version=1,
            authority="pg",
            target=STORE,
            action=Action.UPSERT if intended.digest else Action.DELETE,
            kind="different",
            sealed_key=SEALS.seal_key(ENTITY, key),
            # Another row's each time: what was undone once waits for a person.
            key_hash=finding_id[::-1],
            partition=partition,
            expected_digest=expected.digest,
            intended_digest=intended.digest,
            authority_position=b"",
            needs_approval=False,
            reason="",
            expires_at_ms=10**15,
            fence_token=0,
            trace_id=b"t" * 16,
            planned_at_ms=NOW_MS - 2 * VALUE_WAITS_MS,
        )

    def applier(
        self, failpoint: Callable[[str], None] = no_failpoint, target: MongodbRows | None = None
    ) -> PlannedApplier:
        """Return an applier."""
        return PlannedApplier(
            contracts={ENTITY: self.world.agreed},
            stores={"pg": self.there, STORE: target or self.world.store},
            targets=frozenset({STORE}),
            seals=SEALS,
            belief=BELIEF,
            words_on=lambda _: (),
            now_wall_ms=lambda: NOW_MS,
            limits=Limits(10**6, 10**6, 10**6),
            failpoint=failpoint,
        )

    def undo(self, command: RepairCommand) -> CommandOutcome:
        """Take a repair back, at a person's word."""
        row = self.world.store.recorded([command.command_id])[command.command_id]
        undo = undo_of(row, self.world.agreed, NOW_MS, 3_600_000)
        return self.applier().apply(signed(undo, ANNA), undo.partition)

    def ledger(self) -> list[str]:
        """Return the kinds of the ledger's rows."""
        return [row.kind.value for row in self.world.store.ledger_rows()]


def raw(world: MongodbWorld, key: object = 1) -> bytes | None:
    """Return a thing's bytes."""
    options: bson.CodecOptions[RawBSONDocument] = bson.CodecOptions(document_class=RawBSONDocument)
    found = world.things.with_options(codec_options=options).find_one({"_id": key})
    return None if found is None else bytes(found.raw)


def reason(call: Callable[..., object], *arguments: object) -> RefusalReason:
    """Return the reason for which a call was refused."""
    with pytest.raises(Refused) as no:
        call(*arguments)
    return no.value.reason


def at(name: str, act: Callable[[], object]) -> Callable[[str], None]:
    """Return a failpoint that acts once, at one step."""
    done: list[str] = []

    def failpoint(step: str) -> None:
        if step == name and not done:
            done.append(step)
            act()

    return failpoint


# -- one digest for a document, by the log and by query ----------------------------------------------------------------

EVENT_FIELDS = {
    "customer": FieldType(FieldKind.INT64),
    "amount": FieldType(FieldKind.DECIMAL),
    "status": TEXT_KEY,
    "rate": FieldType(FieldKind.FLOAT64),
    "half": FieldType(FieldKind.FLOAT64),
    "count": FieldType(FieldKind.INT32),
    "at": FieldType(FieldKind.INSTANT, precision=3),
    "blob": FieldType(FieldKind.BYTES),
    "uuid": FieldType(FieldKind.UUID),
    "city": TEXT_KEY,
    "ship": JSON,
    "ok": FieldType(FieldKind.BOOL),
}
EVENT_PATHS = {name: name for name in EVENT_FIELDS} | {"city": "ship.city"}


def test_a_document_has_the_digest_of_its_recorded_change(make: Callable[..., MongodbWorld]) -> None:
    """Of every change that Debezium wrote of samples, as it stands in the log's own writing of extended JSON."""
    world = make(fields=EVENT_FIELDS, paths=EVENT_PATHS, key=TEXT_KEY, encodings={})
    world.things.drop_indexes()
    digester = RowDigester(world.agreed, STORE, Dialect.MONGO_CDC, DIGEST_KEY)
    decoder = decoder_for(StoreKind.MONGODB, Converter.JSON, "left-out")
    seen = collections.Counter[str]()
    for line in EVENTS.read_text().splitlines():
        told = json.loads(line)
        if not told["topic"].endswith("samples") or not (told.get("value") or {}).get("after"):
            continue
        event = decoder.decode(json.dumps(told["key"]).encode(), json.dumps(told["value"]).encode())
        assert event is not None
        assert event.after is not None
        if not isinstance(event.after["_id"], str):
            continue  # the key of these samples is text
        document = json_util.loads(
            told["value"]["after"],
            json_options=json_util.JSONOptions(
                datetime_conversion=bson.DatetimeConversion.DATETIME_MS, uuid_representation=0, tz_aware=False
            ),
        )
        world.things.with_options(codec_options=LOSSLESS).replace_one({"_id": document["_id"]}, document, upsert=True)
        (read,) = world.store.read([(ENTITY, digester.canonical_key(event.after))])
        assert read.digest == row_digest(digester.groups(event.after)), told["case"]
        assert read.digest != UNREADABLE
        assert dict(read.values) == digester.values(event.after)
        seen[told["case"]] += 1
    assert len(seen) >= 4


# Every type of BSON that the server of these tests takes. Dates beyond Python's years it refuses, MongoDB does not.
ALL_TYPES: dict[str, Any] = {
    "int": 5,
    "long": Int64(5),
    "double": 0.1,
    "minus_zero": -0.0,
    "not_a_number": float("nan"),
    "infinite": float("-inf"),
    "decimal": Decimal128("1.250"),
    "decimal_nan": Decimal128("NaN"),
    "many_digits": Decimal128("1234567890123456789012345678901234"),
    "text": "Köln 🐟 \x00 'a' $b {c}",
    "empty": "",
    "yes": True,
    "null": None,
    "date": DatetimeMS(1_700_000_000_123),
    "early": DatetimeMS(-62_135_596_800_000),
    "id": ObjectId(HEX),
    "bytes": b"\x00\xff",
    "of_subtype": Binary(b"ab", 5),
    "uuid": Binary(bytes(range(16)), 4),
    "old_uuid": Binary(bytes(range(16)), 3),
    "document": {"z": 1, "a": Int64(2), "d": {"x": [1, {"y": None}]}, "e": Regex("^a", "im")},
    "no_document": {},
    "list": [1, Int64(2), 0.5, "x", None, [True], {"k": Decimal128("0.10")}],
    "no_list": [],
    "expression": Regex("^a.*b$", "im"),
    "timestamp": Timestamp(7, 3),
    "least": MinKey(),
    "most": MaxKey(),
    "code": bson.Code("f()"),
    "scoped": bson.Code("f()", {"x": 1}),
    "x.y": "a name with a dot",
    "$z": "a name with a dollar",
}
ALL_FIELDS = {
    "int": FieldType(FieldKind.INT32),
    "long": FieldType(FieldKind.INT64),
    "double": FieldType(FieldKind.DECIMAL),
    "minus_zero": FieldType(FieldKind.FLOAT64),
    "not_a_number": FieldType(FieldKind.FLOAT64),
    "decimal": FieldType(FieldKind.DECIMAL),
    "decimal_nan": FieldType(FieldKind.DECIMAL),
    "text": TEXT_KEY,
    "yes": FieldType(FieldKind.BOOL),
    "null": TEXT_KEY,
    "date": FieldType(FieldKind.INSTANT, precision=3),
    "id": TEXT_KEY,
    "bytes": FieldType(FieldKind.BYTES),
    "of_subtype": FieldType(FieldKind.BYTES),
    "uuid": FieldType(FieldKind.UUID),
    "old_uuid": FieldType(FieldKind.UUID),
    "document": JSON,
    "list": JSON,
    "within": FieldType(FieldKind.INT64),
    "absent": TEXT_KEY,
    "absent_within": TEXT_KEY,
}
ALL_PATHS = {name: name for name in ALL_FIELDS} | {"within": "outer.in.n", "absent_within": "made.for.it"}
OTHERS: dict[str, Any] = {
    "int": 6,
    "long": Int64(2**60),
    "double": Decimal128("12345678901234567890.5"),
    "minus_zero": 1.5,
    "not_a_number": 2.5,
    "decimal": Decimal128("2.5"),
    "decimal_nan": Decimal128("1"),
    "text": "other",
    "yes": False,
    "null": "something",
    "date": DatetimeMS(5),
    "id": ObjectId(),
    "bytes": b"other",
    "of_subtype": b"other",
    "uuid": Binary(bytes(16), 4),
    "old_uuid": Binary(bytes(16), 4),
    "document": {"a": 3, "new": [1.5]},
    "list": [1],
    "outer": {"in": {"n": 9}},
    "absent": "there now",
    "made": {"for": {"it": "there now"}},
}


@pytest.fixture
def of_all(make: Callable[..., MongodbWorld]) -> Repairs:
    """Return repairs of documents that have a field of every type."""
    world = make(fields=ALL_FIELDS, paths=ALL_PATHS, encodings={})
    repairs = Repairs(world)
    repairs.world.things.insert_one({"_id": 1, **ALL_TYPES, "outer": {"o": 1, "in": {"n": 7}, "p": [2]}})
    return repairs


def test_a_document_of_all_types_is_read_alike_by_log_and_by_query(of_all: Repairs) -> None:
    """In the connector's writing, which is version 1's, in the relaxed one and in the canonical one."""
    (read,) = of_all.world.store.read([(ENTITY, KEY)])
    digester = RowDigester(of_all.world.agreed, STORE, Dialect.MONGO_CDC, DIGEST_KEY)
    data = raw(of_all.world)
    assert data is not None
    document = bson.decode(data, LOSSLESS)
    for mode in (json_util.JSONMode.LEGACY, json_util.JSONMode.RELAXED, json_util.JSONMode.CANONICAL):
        options = json_util.JSONOptions(json_mode=mode, datetime_conversion=bson.DatetimeConversion.DATETIME_MS)
        told = image_of(json_util.dumps(document, json_options=options))
        assert row_digest(digester.groups(told)) == read.digest, mode
    assert read.digest != UNREADABLE


def test_a_document_that_the_contract_cannot_read_is_no_row_that_was_judged(world: MongodbWorld) -> None:
    """It is there, and nobody knows what it says; its image brings it back all the same."""
    world.things.insert_one({"_id": 1, "code": Regex("a")})
    (read,) = world.store.read([(ENTITY, KEY)])
    assert read.digest == UNREADABLE
    transaction = world.store.begin([(ENTITY, KEY)])
    assert document_of_image(transaction.look()[0].image)["code"] == Regex("a")
    transaction.rollback()


# -- undoing, to the last bit ------------------------------------------------------------------------------------------


def test_a_repair_is_undone_to_the_last_bit_in_every_type(of_all: Repairs) -> None:
    """Given other values, deleted, and put in anew: undone, its bytes are what they were, order of fields included."""
    before = raw(of_all.world)
    assert before is not None
    (was,) = of_all.world.store.read([(ENTITY, KEY)])
    of_all.show(OTHERS)
    (shown,) = of_all.there.read([(ENTITY, KEY)])
    changed = {name for name in ALL_FIELDS if was.values[name] != shown.values[name]}
    assert changed == set(ALL_FIELDS)
    for wanted in (OTHERS, None):
        of_all.show(wanted)
        command = of_all.command()
        outcome = of_all.applier().carry_out(command)
        assert (outcome.outcome, outcome.reason, outcome.detail) == (Outcome.APPLIED, None, "")
        between = raw(of_all.world)
        assert (between is None) is (wanted is None)
        assert between != before
        outcome = of_all.undo(command)
        assert (outcome.outcome, outcome.reason, outcome.detail) == (Outcome.APPLIED, None, "")
        assert raw(of_all.world) == before
    of_all.world.things.delete_one({"_id": 1})
    of_all.show(OTHERS)
    command = of_all.command()
    assert of_all.applier().carry_out(command).outcome is Outcome.APPLIED
    assert raw(of_all.world) is not None
    assert of_all.undo(command).outcome is Outcome.APPLIED
    assert raw(of_all.world) is None
    assert of_all.ledger() == ["command", "undo", "command", "undo", "command", "check", "undo"]


def test_a_repair_leaves_what_the_contract_does_not_name(of_all: Repairs) -> None:
    """The types of fields that can hold the new value stay, and so do fields beside it, in their order."""
    of_all.show(OTHERS)
    assert of_all.applier().carry_out(of_all.command()).outcome is Outcome.APPLIED
    data = raw(of_all.world)
    assert data is not None
    left = bson.decode(data, LOSSLESS)
    assert [*left][: len(ALL_TYPES) + 2] == ["_id", *ALL_TYPES, "outer"]
    assert left["outer"] == {"o": 1, "in": {"n": 9}, "p": [2]}
    assert (type(left["id"]), left["of_subtype"], left["old_uuid"].subtype) == (ObjectId, Binary(b"other", 5), 3)
    assert left["document"] == {"a": 3, "new": [1.5]}
    for name in set(ALL_TYPES) - set(ALL_FIELDS):
        assert bson.encode({"": left[name]}) == bson.encode({"": ALL_TYPES[name]}), name


def test_nothing_is_written_over_a_field_that_is_not_there_to_say_that_it_is_null(world: MongodbWorld) -> None:
    """A missing field is NULL; a value becomes null, and is one again when that is undone."""
    world.things.insert_one({"_id": 1, "code": "c", "seen": Int64(5)})
    repairs = Repairs(world)
    repairs.show({"code": "d"})
    command = repairs.command()
    before = raw(world)
    assert repairs.applier().carry_out(command).outcome is Outcome.APPLIED
    assert world.things.find_one({"_id": 1}) == {"_id": 1, "code": "d", "seen": None}
    assert repairs.undo(command).outcome is Outcome.APPLIED
    assert raw(world) == before


def test_an_insert_that_somebody_wrote_to_outside_the_contract_is_not_deleted(world: MongodbWorld) -> None:
    """Undone only while its document is, to the last bit, what the insert left."""
    repairs = Repairs(world)
    repairs.show({"code": "c"})
    command = repairs.command()
    assert repairs.applier().carry_out(command).outcome is Outcome.APPLIED
    world.things.update_one({"_id": 1}, {"$set": {"more": 1}})
    assert repairs.undo(command).reason is RefusalReason.ROW_MOVED
    assert world.things.find_one({"_id": 1}) == {"_id": 1, "code": "c", "more": 1}


def test_an_image_that_would_not_bring_the_document_back_is_refused(world: MongodbWorld) -> None:
    """A document within that has the form of a typed value of extended JSON would come back as that value."""
    world.things.insert_one({"_id": 1, "outside": {"$numberInt": "5"}})
    transaction = world.store.begin([(ENTITY, KEY)])
    assert reason(transaction.look) is RefusalReason.NOT_UNDOABLE
    transaction.rollback()


# -- isolation ---------------------------------------------------------------------------------------------------------

BEFORE_LOCK = ("before_transaction", "transaction_begun", "fence_shared", "row_looked_at", "ledger_row_inserted")
UNDER_LOCK = ("row_locked", "authority_read")
BEHIND_WRITE = ("row_written", "row_read_back", "before_commit")


@pytest.fixture
def drifted(world: MongodbWorld) -> Repairs:
    """Return repairs of a thing that differs."""
    repairs = Repairs(world)
    world.put(1, thing(code="old"))
    repairs.show(world.document(1, thing(code="right")))
    return repairs


@pytest.mark.parametrize("name", [*BEFORE_LOCK, *UNDER_LOCK])
@pytest.mark.parametrize("path", ["code", "outside"])
def test_a_write_of_the_application_is_never_lost(drifted: Repairs, name: str, path: str) -> None:
    """Whenever it comes before ours, in a column of the contract or outside: ours is not made."""
    world = drifted.world
    write = at(name, lambda: world.things.update_one({"_id": 1}, {"$set": {path: "theirs now"}}))
    outcome = drifted.applier(write).carry_out(drifted.command())
    moved = path == "code" and name in BEFORE_LOCK
    if name in BEFORE_LOCK[:3] and path == "outside":
        assert outcome.outcome is Outcome.APPLIED  # it was looked at afterwards
    else:
        assert outcome.reason is (RefusalReason.ROW_MOVED if moved else RefusalReason.ROW_LOCKED)
        assert drifted.ledger() == (["refusal"] if moved else [])
    left = world.things.find_one({"_id": 1})
    assert left is not None
    assert left[path] == "theirs now"


@pytest.mark.parametrize("name", BEHIND_WRITE)
def test_who_writes_behind_our_write_meets_the_conflict(drifted: Repairs, name: str) -> None:
    """In a transaction of its own, at once; a write without one waits for ours, and comes behind it."""
    world = drifted.world
    codes: list[int | None] = []

    def write() -> None:
        with world.admin.start_session() as other:
            other.start_transaction()
            with pytest.raises(OperationFailure) as no:
                world.things.update_one({"_id": 1}, {"$set": {"code": "theirs"}}, session=other)
            codes.append(no.value.code)
            other.abort_transaction()

    assert drifted.applier(at(name, write)).carry_out(drifted.command()).outcome is Outcome.APPLIED
    assert codes == [112]
    found = world.things.find_one({"_id": 1})
    assert found is not None
    assert found["code"] == "right"


def test_a_delete_meets_a_write_since_the_lock(drifted: Repairs) -> None:
    """What came in between would go along."""
    drifted.show(None)
    write = at("row_locked", lambda: drifted.world.things.update_one({"_id": 1}, {"$set": {"outside": "new"}}))
    assert drifted.applier(write).carry_out(drifted.command()).reason is RefusalReason.ROW_LOCKED
    assert drifted.world.things.count_documents({}) == 1
    assert drifted.applier().carry_out(drifted.command()).outcome is Outcome.APPLIED
    assert drifted.world.things.count_documents({}) == 0


def test_a_document_that_came_since_the_lock_stays(world: MongodbWorld) -> None:
    """It is seen neither by the snapshot nor by its lock, and moves the row all the same."""
    repairs = Repairs(world)
    repairs.show({"code": "right"})
    write = at("row_locked", lambda: world.things.insert_one({"_id": 1, "code": "came"}))
    assert repairs.applier(write).carry_out(repairs.command()).reason is RefusalReason.ROW_MOVED
    assert world.things.find_one({"_id": 1}) == {"_id": 1, "code": "came"}


def test_one_that_came_among_several_is_named_alone(world: MongodbWorld) -> None:
    """The other is inserted with the next try."""
    repairs = Repairs(world)
    repairs.show({"code": "a"}, 1)
    repairs.show({"code": "b"}, 2)
    commands = [repairs.command(key_of(1)), repairs.command(key_of(2))]
    write = at("row_locked", lambda: world.things.insert_one({"_id": 2, "code": "came"}))
    outcomes = repairs.applier(write).carry_out_all(commands)
    assert [outcome.reason for outcome in outcomes] == [None, RefusalReason.ROW_MOVED]
    assert [each["code"] for each in world.things.find().sort("_id")] == ["a", "came"]


def test_a_transaction_that_is_begun_anew_sees_that_a_row_was_written_meanwhile(world: MongodbWorld) -> None:
    """A unique index has ended it; what the lock showed is not what stands there now, and nothing is written."""
    for number, code in ((1, "a"), (2, "b")):
        world.put(number, thing(code=code))
    transaction = world.store.begin([(ENTITY, key_of(1)), (ENTITY, key_of(2))])
    transaction.lock()
    world.things.update_one({"_id": 2}, {"$set": {"outside": "theirs now"}})
    writes = [RowWrite(Way.UPDATE, {"code": "b"}), RowWrite(Way.UPDATE, {"code": "c"})]
    assert reason(transaction.write, writes) is RefusalReason.ROW_LOCKED
    transaction.rollback()
    assert [each["code"] for each in world.things.find().sort("_id")] == ["a", "b"]


def test_beside_a_busy_writer_a_repair_writes_only_over_what_it_expected(drifted: Repairs) -> None:
    """An application counts in the document as fast as it can while repairs of it are tried.

    Oracle: each before-image in the ledger is the state that its command expected, and the application's counter, which
    no repair writes, never loses a step.
    """
    world = drifted.world
    stop, breath = threading.Event(), threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        while not stop.is_set():
            changes = {"$set": {"code": f"app {written + 1}"}, "$inc": {"counter": 1}}
            with suppress(PyMongoError):
                world.things.update_one({"_id": 1}, changes)
                written += 1
            # It draws breath now and then, or a repair would succeed by luck alone.
            breath.wait(0.001 if written % 10 else 0.05)

    application = threading.Thread(target=write)
    application.start()
    expected: dict[bytes, bytes] = {}
    outcomes: collections.Counter[str] = collections.Counter()
    try:
        while len(expected) < 60 or not outcomes["applied"] or not outcomes["row_moved"]:
            drifted.show(world.document(1, thing(code=f"right {len(expected)}")))
            command = drifted.command()
            expected[command.command_id] = command.expected_digest
            outcome = drifted.applier().carry_out(command)
            outcomes[outcome.reason.value if outcome.reason else outcome.outcome.value] += 1
    finally:
        stop.set()
        application.join()
    assert set(outcomes) <= {"applied", "row_moved", "row_locked"}, outcomes
    rows = [row for row in world.store.ledger_rows() if row.kind is LedgerKind.COMMAND]
    assert len(rows) == outcomes["applied"]
    table = world.mongodb.table(ENTITY)
    for row in rows:
        image = document_of_image(SEALS.open_image(row.row_id, row.before_image))
        held = table.held(RawBSONDocument(bson.encode(image, codec_options=LOSSLESS)))
        assert held.read.digest == expected[row.row_id]
    counted = world.things.find_one({"_id": 1})
    assert counted is not None
    assert counted["counter"] == written


# -- the fence ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*BEFORE_LOCK[2:]])
@pytest.mark.parametrize("scope", ["*", "stop", "things/mo/0"])
def test_a_flag_that_is_raised_behind_its_reading_lets_nothing_through(drifted: Repairs, name: str, scope: str) -> None:
    """It stands once the raise is through: whatever was read before, nothing is written."""
    command = drifted.command()
    assert scope in {"*", "stop", shard_of(command)}
    raised = at(name, lambda: drifted.world.raise_flag(scope, 5))
    assert drifted.applier(raised).carry_out(command).reason is RefusalReason.ROW_LOCKED
    fenced = RefusalReason.STOPPED if scope == "stop" else RefusalReason.FENCED
    assert drifted.applier().carry_out(command).reason is fenced
    assert drifted.ledger() == []


@pytest.mark.parametrize("name", [*UNDER_LOCK, *BEHIND_WRITE])
def test_a_raise_waits_for_who_has_begun_before(drifted: Repairs, name: str) -> None:
    """What was begun under the old token is written before the raise is through, and nothing is behind it."""
    world = drifted.world
    through = threading.Event()

    def raises() -> None:
        world.raise_flag("*", 5)
        through.set()

    raising = threading.Thread(target=raises)

    def begin_to_raise() -> None:
        raising.start()
        while True:
            found = world.own["driftline_fence"].find_one({"_id": "*"})
            if found is not None and found["token"] == 5:
                break
        # It has said the token, and is at the documents that transactions share.
        assert not through.wait(0.2)

    outcome = drifted.applier(at(name, begin_to_raise)).carry_out(drifted.command())
    raising.join(10)
    assert through.is_set()
    assert outcome.outcome is Outcome.APPLIED
    assert drifted.applier().carry_out(drifted.command()).outcome is not Outcome.APPLIED


def test_a_raise_that_is_through_before_the_fence_is_shared_is_a_conflict(world: MongodbWorld) -> None:
    """The snapshot has the old token, and what every transaction writes was written since: it ends in nothing."""
    world.mongodb.own()[0].prepare([3])
    fence, _ = world.mongodb.own()
    with world.mongodb.writing().start_session() as session:
        session.start_transaction()
        assert fence.flags(session)["*"] == 0
        world.raise_fence(1)
        assert fence.flags(session)["*"] == 0
        with pytest.raises(OperationFailure) as no:
            fence.share([3], session)
        assert no.value.code == 112
        session.abort_transaction()


def test_appliers_of_different_partitions_do_not_meet(world: MongodbWorld) -> None:
    """Those of one partition do, and one of them is held."""
    for number in (1, 2, 3):
        world.put(number, thing(code=str(number)))
    other = world.another()
    first, second = world.store.begin([(ENTITY, key_of(1))]), other.begin([(ENTITY, key_of(2))])
    for number, transaction in ((1, first), (2, second)):
        assert not transaction.fence().is_stopped
        transaction.record([replace(ledger_row(number), partition=number)])
        transaction.lock()
        transaction.write([RowWrite(Way.UPDATE, {"name": "b"})])
    third = other.begin([(ENTITY, key_of(3))])
    third.record([replace(ledger_row(3), partition=1)])
    assert reason(third.lock) is RefusalReason.ROW_LOCKED
    third.rollback()
    first.commit()
    second.commit()
    assert [each['na"m`e 100%s'] for each in world.things.find().sort("_id")] == ["b", "b", "a"]
    assert len(list(world.store.ledger_rows())) == 2


@pytest.mark.parametrize("name", ["row_locked", "before_commit"])
def test_two_appliers_at_one_command_write_once(drifted: Repairs, name: str) -> None:
    """The second meets the first's ledger row at once, and waits for nothing."""
    command = drifted.command()
    other = drifted.world.another()
    met: list[CommandOutcome] = []
    second = at(name, lambda: met.append(drifted.applier(target=other).carry_out(command)))
    assert drifted.applier(second).carry_out(command).outcome is Outcome.APPLIED
    assert [outcome.reason for outcome in met] == [RefusalReason.ROW_LOCKED]
    assert drifted.applier(target=other).carry_out(command).outcome is Outcome.APPLIED
    assert drifted.ledger() == ["command"]


def test_another_server_is_told(drifted: Repairs) -> None:
    """A set of another name or with other members is not the one that a person accepted."""
    drifted.world.raise_flag("server", 12345)
    assert drifted.applier().carry_out(drifted.command()).reason is RefusalReason.ANOTHER_SERVER


# -- commits and sessions that are lost --------------------------------------------------------------------------------


@pytest.mark.parametrize("took_place", [True, False])
@pytest.mark.parametrize("before", [None, "old"])
def test_a_lost_answer_to_a_commit_is_no_second_write(
    world: MongodbWorld, monkeypatch: pytest.MonkeyPatch, before: str | None, *, took_place: bool
) -> None:
    """Whether it took place, the ledger says: the row is written once, and not touched again."""
    repairs = Repairs(world)
    if before is not None:
        world.put(1, thing(code=before))
    repairs.show(world.document(1, thing(code="right")))
    command = repairs.command()
    commit = ClientSession.commit_transaction

    def cut(session: ClientSession) -> None:
        if took_place:
            commit(session)
        raise AutoReconnect("the connection was lost")

    arm = at("before_commit", lambda: monkeypatch.setattr(ClientSession, "commit_transaction", cut))
    with pytest.raises(Unready):
        repairs.applier(arm).carry_out(command)
    monkeypatch.setattr(ClientSession, "commit_transaction", commit)
    found = world.things.find_one({"_id": 1})
    assert (found["code"] if found else None) == ("right" if took_place else before)
    world.things.update_one({"_id": 1}, {"$set": {"outside": "touched since"}})
    again = repairs.applier().carry_out(command)
    assert (again.outcome, again.reason) == (Outcome.APPLIED, None)
    left = world.things.find_one({"_id": 1})
    assert left is not None
    assert left["code"] == "right"
    assert left.get("outside") == ("touched since" if took_place or before else None)
    assert repairs.ledger().count("command") == 1


@pytest.mark.parametrize("name", ["row_locked", "row_written", "before_commit"])
def test_a_session_that_the_server_ends_leaves_nothing(drifted: Repairs, name: str) -> None:
    """Ended in the middle of the transaction: nothing is written, and the next try goes through."""
    world = drifted.world
    command = drifted.command()
    cut = at(name, lambda: world.admin.admin.command("killAllSessions", []))
    with pytest.raises(Unready):
        drifted.applier(cut).carry_out(command)
    found = world.things.find_one({"_id": 1})
    assert found is not None
    assert found["code"] == "old"
    assert drifted.ledger() == []
    assert drifted.applier().carry_out(command).outcome is Outcome.APPLIED


# -- keys --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def named(make: Callable[..., MongodbWorld]) -> MongodbWorld:
    """Return things whose key is text."""
    return make(key=TEXT_KEY)


def test_a_text_of_24_digits_is_an_objectid_or_a_string(named: MongodbWorld) -> None:
    """Both read as the same key: one of them is the row, and of two nobody can tell."""
    key = key_writer(TEXT_KEY)(HEX)
    digests = []
    for _id in (ObjectId(HEX), HEX):
        named.things.insert_one({"_id": _id, "code": "c"})
        digests.append(named.store.read([(ENTITY, key)])[0].digest)
        transaction = named.store.begin([(ENTITY, key)])
        transaction.lock()
        assert transaction.write([RowWrite(Way.UPDATE, {"code": "d"})]) == 1
        transaction.commit()
        assert [(each["_id"], each["code"]) for each in named.things.find()] == [(_id, "d")]
        named.things.delete_many({})
    assert digests[0] == digests[1] != b""
    named.things.insert_many([{"_id": ObjectId(HEX), "code": "c"}, {"_id": HEX, "code": "d"}])
    assert named.store.read([(ENTITY, key)])[0].digest == UNREADABLE
    transaction = named.store.begin([(ENTITY, key)])
    assert reason(transaction.look) is RefusalReason.WIDER_THAN_ONE_ROW
    transaction.rollback()


@pytest.mark.parametrize(
    ("others", "expected"),
    [([], ObjectId), ([ObjectId()], ObjectId), (["x"], str), ([ObjectId(), "x"], RefusalReason.UNCOVERED_COLUMNS)],
)
def test_a_document_is_inserted_under_an_id_of_the_type_that_the_others_have(
    named: MongodbWorld, others: list[object], expected: object
) -> None:
    """Where they have several, nobody knows of which its own is to be."""
    if others:
        named.things.insert_many([{"_id": each, "code": str(n)} for n, each in enumerate(others)])
    transaction = named.store.begin([(ENTITY, key_writer(TEXT_KEY)(HEX))])
    transaction.lock()
    write = [RowWrite(Way.INSERT, {"code": "c"})]
    if isinstance(expected, RefusalReason):
        assert reason(transaction.write, write) is expected
        transaction.rollback()
        return
    transaction.write(write)
    transaction.commit()
    found = named.things.find_one({"code": "c"})
    assert found is not None
    assert type(found["_id"]) is expected


@pytest.mark.parametrize("_id", [1, Int64(1), "1"])
def test_a_number_is_found_under_whatever_type_it_has(world: MongodbWorld, _id: object) -> None:
    """32 bits, 64 bits or text."""
    world.things.insert_one({"_id": _id, "code": "c"})
    assert world.store.read([(ENTITY, KEY)])[0].values["code"] == "c"


def test_a_key_of_another_field_is_refused(world: MongodbWorld) -> None:
    """At once, and not with the first row."""
    (key,) = world.agreed.key
    agreed = replace(world.agreed, key=(replace(key, columns={"pg": "_id", STORE: "number"}),))
    with pytest.raises(ContractViolation, match="found by their `_id` alone"):
        MongodbRows(world.settings, [agreed], DIGEST_KEY)


# -- what the store cannot take ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"capped": True, "size": 4096}, {"timeseries": {"timeField": "at"}}], ids=["capped", "time series"]
)
def test_a_collection_whose_documents_no_transaction_may_write_is_refused(
    world: MongodbWorld, options: dict[str, Any]
) -> None:
    """Before anything is begun; a view is in the common suite."""
    world.things.drop()
    world.shop.create_collection("things", **options)
    assert reason(world.store.begin, [(ENTITY, KEY)]) is RefusalReason.NOT_TRANSACTIONAL


def test_a_collection_that_is_not_there_is_not_made(world: MongodbWorld) -> None:
    """MongoDB would make it with the first insert."""
    world.things.drop()
    assert reason(world.store.begin, [(ENTITY, KEY)]) is RefusalReason.TABLE_DIFFERS
    assert reason(world.store.table_rows, ENTITY) is RefusalReason.TABLE_DIFFERS
    assert world.shop.list_collection_names(filter={"name": "things"}) == []


def test_a_server_that_is_no_replica_set_is_refused(tmp_path: Path) -> None:
    """It has no transactions."""
    with running_standalone(tmp_path) as server:
        settings = mongodb_settings(server, tmp_path, "shop", "driftline")
        roles = {name: replace(role, password_file=None) for name, role in settings.roles.items()}
        store = MongodbRows(replace(settings, roles=roles), [mongodb_contract("shop")], DIGEST_KEY)
        assert reason(store.begin, [(ENTITY, KEY)]) is RefusalReason.NOT_TRANSACTIONAL
        store.close()


def test_a_validator_says_no_by_what_it_asks_for(world: MongodbWorld) -> None:
    """A field of the contract that is not as it shall be is a constraint; one beside it is not covered."""
    schema = {"required": ["code", "needed"], "properties": {"code": {"bsonType": "string", "maxLength": 3}}}
    world.put(1, {**thing(code="c")})
    world.things.update_one({"_id": 1}, {"$set": {"needed": 1}})
    world.shop.command("collMod", "things", validator={"$jsonSchema": schema})
    for key, way, values, expected in (
        (1, Way.UPDATE, {"code": "longer"}, RefusalReason.CONSTRAINT),
        (2, Way.INSERT, {"code": "d"}, RefusalReason.UNCOVERED_COLUMNS),
    ):
        transaction = world.store.begin([(ENTITY, key_of(key))])
        transaction.lock()
        assert reason(transaction.write, [RowWrite(way, values)]) is expected
        transaction.rollback()


def test_what_cannot_stand_at_its_place_is_refused_and_nothing_else_is_written_there(world: MongodbWorld) -> None:
    """Where something else than a document is on the way, and where the document would be too large."""
    world.things.insert_one({"_id": 1, "code": "c", "price": 5})
    for values in ({"amount": "1"}, {"name": "x" * 17_000_000}):
        transaction = world.store.begin([(ENTITY, KEY)])
        transaction.lock()
        assert reason(transaction.write, [RowWrite(Way.UPDATE, values)]) is RefusalReason.NOT_HELD_BY_COLUMN
        transaction.rollback()
    assert world.things.find_one({"_id": 1}) == {"_id": 1, "code": "c", "price": 5}
    # It is not left to the server to say so.
    too_large = RowWrite(Way.UPDATE, {"name": "x" * 17_000_000})
    assert reason(world.mongodb.table(ENTITY).becomes, too_large, {"_id": 1}, 1) is RefusalReason.NOT_HELD_BY_COLUMN


def test_rows_exchange_values_of_an_index_over_several_fields_in_the_order_that_goes(world: MongodbWorld) -> None:
    """A long chain in the worst order, over two fields of which one is in a document within."""
    world.things.drop_indexes()
    world.things.create_index([("code", 1), ("price.of it", 1)], unique=True)
    rows = 60
    for number in range(rows):
        world.put(number, thing(code=f"c{number}"))
    transaction = world.store.begin([(ENTITY, key_of(number)) for number in range(rows)])
    transaction.lock()
    wanted = [RowWrite(Way.UPDATE, {"code": f"c{number + 1}"}) for number in range(rows)]
    assert transaction.write(wanted) == rows
    transaction.commit()
    assert [each["code"] for each in world.things.find().sort("_id")] == [f"c{n + 1}" for n in range(rows)]


def test_of_an_index_over_some_documents_only_no_field_is_named(world: MongodbWorld) -> None:
    """Who is not in it holds no value there."""
    world.things.drop_indexes()
    world.things.create_index([("code", 1)], unique=True, partialFilterExpression={"outside": "theirs"})
    for number, code in ((1, "a"), (2, "b"), (3, "c")):
        world.put(number, thing(code=code))
    transaction = world.store.begin([(ENTITY, key_of(1)), (ENTITY, key_of(2))])
    transaction.lock()
    with pytest.raises(RowsRefused) as no:
        transaction.write([RowWrite(Way.UPDATE, {"code": code}) for code in ("c", "d")])
    transaction.rollback()
    assert {place: why.reason for place, why in no.value.by_place.items()} == {0: RefusalReason.UNIQUE_CONFLICT}
    assert no.value.unique_fields == {}


# -- rights ------------------------------------------------------------------------------------------------------------

ACTIONS = {
    "find": "find",
    "aggregate": "find",
    "count": "find",
    "insert": "insert",
    "update": "update",
    "delete": "remove",
    "listCollections": "listCollections",
    "listIndexes": "listIndexes",
}
OF_NOBODY = {"hello", "ping", "endSessions", "commitTransaction", "abortTransaction", "getMore", "killCursors"}
OF_NOBODY |= {"saslStart", "saslContinue"}


class Asked(monitoring.CommandListener):
    """Keeps which action each command asks for, where."""

    def __init__(self) -> None:
        self.rights: set[tuple[str, str, str]] = set()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Keep one."""
        if event.command_name not in OF_NOBODY:
            named = event.command[event.command_name]
            place = named if isinstance(named, str) else ""
            self.rights.add((event.database_name, place, ACTIONS[event.command_name]))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Keep nothing."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Keep nothing."""


def test_repairs_ask_for_no_right_beyond_those_that_are_told(drifted: Repairs, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what is sent: the server of these tests grants by database what MongoDB grants by collection."""
    world, asked = drifted.world, Asked()
    listeners = monitoring._LISTENERS
    monkeypatch.setattr(monitoring, "_LISTENERS", listeners._replace(command_listeners=[asked]))
    command = drifted.command()
    assert drifted.applier().carry_out(command).outcome is Outcome.APPLIED
    assert drifted.undo(command).outcome is Outcome.APPLIED
    for number, code in ((2, "x"), (3, "y")):
        world.put(number, thing(code=code))
        drifted.show(world.document(number, thing(code={"x": "y", "y": "x"}[code])), number)
    drifted.applier().carry_out_all([drifted.command(key_of(2)), drifted.command(key_of(3))])
    drifted.show(world.document(4, thing(code="new")), 4)
    assert drifted.applier().carry_out(drifted.command(key_of(4))).outcome is Outcome.APPLIED
    drifted.show(None, 4)
    assert drifted.applier().carry_out(drifted.command(key_of(4))).outcome is Outcome.APPLIED
    world.store.table_rows(ENTITY)
    world.store.counts([(ENTITY, b"h" * 16)], NOW_MS)
    world.store.unchecked_inserts(10)
    world.store.strain()
    list(world.store.ledger_rows())
    told = world.granted()
    told |= {(world.database, place, "find") for place in ("things", "authority")}
    assert asked.rights <= told, asked.rights - told
    assert {("driftline_ledger", "insert"), ("things", "remove")} <= {right[1:] for right in asked.rights}


def test_the_roles_may_no_more_than_they_have_to(world: MongodbWorld) -> None:
    """The ledger is neither changed nor dropped, the flags not written; who reads writes nothing."""
    world.store.record_alone([ledger_row()])
    world.store.read([(ENTITY, KEY)])
    writer, reader = world.mongodb.writing(), world.mongodb._reading()
    own, shop = writer[world.own_name], reader[world.database]
    refused: list[Callable[[], object]] = [
        lambda: own["driftline_ledger"].delete_many({}),
        own["driftline_ledger"].drop,
        lambda: own["driftline_ledger"].create_index([("kind", 1)]),
        lambda: own.command("collMod", "driftline_ledger", validator={}),
        lambda: own["driftline_fence"].delete_many({}),
        lambda: writer.drop_database(world.own_name),
        lambda: writer["elsewhere"]["things"].insert_one({}),
        writer[world.database]["things"].drop,
        lambda: shop["things"].insert_one({"code": "c"}),
        lambda: shop["things"].delete_many({}),
        reader[world.own_name]["driftline_ledger"].find_one,
    ]
    for call in refused:
        with pytest.raises(OperationFailure) as no:
            call()
        assert no.value.code == 13
    assert [row.row_id for row in world.store.ledger_rows()] == [ledger_row().row_id]


@pytest.mark.parametrize(("right", "expected"), [("update", RefusalReason.NO_RIGHT), ("find", RefusalReason.NO_RIGHT)])
def test_a_right_that_is_missing_holds_the_repair(drifted: Repairs, right: str, expected: RefusalReason) -> None:
    """Only a person can mend that; nothing is refused for good."""
    world = drifted.world
    command = drifted.command()
    applier = drifted.applier()
    world.take_right("things", right)
    outcome = applier.carry_out(command)
    assert (outcome.outcome, outcome.reason) == (Outcome.HELD, expected)
    assert drifted.ledger() == []


@pytest.mark.parametrize("own", ["driftline_ledger", "driftline_fence"])
def test_without_its_own_documents_an_applier_waits(drifted: Repairs, own: str) -> None:
    """Of these every command is in need: nothing is held for one row."""
    if own == "driftline_fence":
        drifted.world.own[own].delete_many({})
    else:
        # The server of these tests grants by database.
        for place in ("driftline_ledger", "driftline_fence", "driftline_shared"):
            drifted.world.take_right(place, "find")
    with pytest.raises(Unready, match="driftline init"):
        drifted.applier().carry_out(drifted.command())


@pytest.mark.parametrize("token", [0.5, "1", None])
def test_a_flag_whose_token_is_no_number_stops_all(drifted: Repairs, token: object) -> None:
    """Nobody can tell what it fences; and a flag is known by its `_id`, whatever else a document says of itself."""
    flags = drifted.world.own["driftline_fence"]
    flags.insert_one({"_id": "elsewhere", "scope": "stop", "token": Int64(0)})
    command = drifted.command()
    drifted.world.stop()
    assert drifted.applier().carry_out(command).outcome is not Outcome.APPLIED
    flags.update_one({"_id": "stop"}, {"$set": {"token": token}})
    with pytest.raises(Unready, match="no whole number"):
        drifted.applier().carry_out(command)
    assert drifted.ledger() == []


@pytest.mark.parametrize("odd", [{"$date": {}}, {"$numberLong": "x"}, {"$binary": {}}, {"$numberDecimal": "x"}])
def test_what_looks_like_extended_json_and_is_none_makes_its_document_unreadable(
    world: MongodbWorld, odd: dict[str, object]
) -> None:
    """And no other."""
    world.things.insert_one({**world.document(1, thing()), "free": odd})
    world.put(2, thing(code="b"))
    first, second = world.store.read([(ENTITY, KEY), (ENTITY, key_of(2))])
    assert first == RowRead(UNREADABLE)
    assert second.values["code"] == "b"


def test_a_code_that_nobody_has_told_of_is_of_its_row() -> None:
    """Were it waited for, every other command of the store would be too."""
    failed = BulkWriteError({"writeErrors": [{"index": 1, "code": 16_804}]})
    told = translated(failed, "store mo")
    assert isinstance(told, WriteFailed)
    assert isinstance(told.error, Refused)
    assert (told.place, told.error.reason) == (1, RefusalReason.CONSTRAINT)


# -- the ledger, rehearsals and the whole way --------------------------------------------------------------------------


def test_a_row_of_the_ledger_is_what_ingest_reads_of_its_change(drifted: Repairs) -> None:
    """Under the names and in the forms of the SQL stores' table, as the log writes a document."""
    command = drifted.command()
    assert drifted.applier().carry_out(command).outcome is Outcome.APPLIED
    document = drifted.world.ledger.find_one({})
    told = image_of(json_util.dumps(document, json_options=json_util.LEGACY_JSON_OPTIONS))
    assert (told["entity"], bytes.fromhex(str(told["command_id"]))) == (ENTITY, command.command_id)
    assert (int(str(told["partition"])), told["kind"], told["outcome"], told["reason"]) == (0, "command", "applied", "")
    assert told["_id"] == told["command_id"]


def test_a_rehearsal_leaves_nothing(drifted: Repairs) -> None:
    """It goes the whole way to the write, tells what it would touch, and rolls back."""
    before = raw(drifted.world)
    shown = Rehearsing(drifted.applier()).rehearse(b"b" * 16, signed(drifted.command()), 0)
    assert shown is not None
    assert shown.reason is None
    (touched,) = shown.touched
    assert (touched.table, touched.inserted, touched.updated, touched.deleted) == (
        f"{drifted.world.database}.things",
        0,
        1,
        0,
    )
    assert raw(drifted.world) == before
    assert drifted.ledger() == []


def test_an_insert_whose_authority_moves_is_taken_back(world: MongodbWorld) -> None:
    """By the check behind it, in MongoDB as in SQL."""
    repairs = Repairs(world)
    repairs.show({"code": "right"})
    outcome = repairs.applier(at("committed", lambda: repairs.show(None))).carry_out(repairs.command())
    assert outcome.outcome is Outcome.INVERTED
    assert world.things.count_documents({}) == 0
    assert sorted(repairs.ledger()) == ["check", "command", "inverse"]


def test_rows_that_exchange_a_unique_value_are_told_of_it(world: MongodbWorld) -> None:
    """No order helps them; one that stands by itself is repaired."""
    repairs = Repairs(world)
    for number, code, right in ((1, "a", "b"), (2, "b", "a"), (3, "c", "d")):
        world.put(number, thing(code=code))
        repairs.show(world.document(number, thing(code=right)), number)
    outcomes = repairs.applier().carry_out_all([repairs.command(key_of(number)) for number in (1, 2, 3)])
    assert [outcome.reason for outcome in outcomes] == [RefusalReason.UNIQUE_CONFLICT] * 2 + [None]
    assert all("exchange the values of" in outcome.detail for outcome in outcomes[:2])


def test_interrupted_at_any_step_a_repair_is_made_once(drifted: Repairs) -> None:
    """Nothing stays of what was not committed, and the next applier asks the ledger."""
    world = drifted.world
    for name in (*BEFORE_LOCK, *UNDER_LOCK, *BEHIND_WRITE, "committed"):
        world.put(1, thing(code="old"))
        command = drifted.command()
        dying = world.another()

        def die() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            drifted.applier(at(name, die), target=dying).carry_out(command)
        assert drifted.applier().carry_out(command).outcome is Outcome.APPLIED
        found = world.things.find_one({"_id": 1})
        assert found is not None
        assert found["code"] == "right"
    assert drifted.ledger() == ["command"] * 11
