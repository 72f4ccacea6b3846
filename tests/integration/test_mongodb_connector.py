"""Debezium's MongoDB connector for real, on a server of MongoDB's protocol: what signals have it read, and where.

Everything that `app.codec.slice_signals` and `app.adapters.mongodb_slice_store` hold of the connector is tried here.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from stack_parts import commands, connectors, kafka_wire
from stack_parts.layout import LOOPBACK, PROJECT, Layout

from app.adapters.mongodb_beacon_rows import MongodbBeaconRows
from app.adapters.mongodb_client import connect_mongodb
from app.adapters.mongodb_slice_store import MongodbSliceStore
from app.adapters.own_tables import run, statements
from app.codec.envelope import decoder_for
from app.codec.slice_signals import SliceWord, begin_row, name_of, slice_id, whole_row, word_of
from app.core.beacon_writer import BeaconRow, Beat
from app.core.conducting import Key, Look, Part
from app.core.contract import EntityContract, Field, FieldKind, FieldType, KeyField, RepairPolicy, Replica, StoreTable
from app.core.event import ChangeEvent, Operation, Reading
from app.core.store import Converter, StoreKind
from app.settings import RoleSettings, StoreSettings
from tests.mongodb_server import Admin

pytestmark = [pytest.mark.stack, pytest.mark.own_stack]

NAME = "mongodb-test"
STACK = PROJECT / "scripts" / "stack"
CONNECTOR = "mongodb-source"
PARTS = ("--only", "kafka", "--only", "connect-feed", "--only", "mongodb")
PATIENCE_S = 30.0
SIGNALS = "mongo.driftline.driftline_signal"


def stack(*words: str) -> None:
    """Run the script as a person would."""
    command = [sys.executable, str(STACK), *words, "--name", NAME]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if words[0] == "up" and done.returncode and not os.environ.get("CI"):
        pytest.skip(f"the local stack does not start here: {done.stderr}")
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass
class World:
    """The stack, the store in it, and what its connector has written."""

    layout: Layout
    store: StoreSettings
    admin: Admin
    slices: MongodbSliceStore
    _seen: dict[tuple[str, int], tuple[int, list[ChangeEvent]]] = field(default_factory=dict)

    def collection(self, name: str, ids: list[Any]) -> Part:
        """Make a collection with documents."""
        self.admin["shop"].create_collection(name, changeStreamPreAndPostImages={"enabled": True})
        if ids:
            self.admin["shop"][name].insert_many([{"_id": each, "n": 0} for each in ids])
        return part_of(name, FieldKind.INT64 if all(isinstance(each, int) for each in ids) else FieldKind.STRING)

    def read(self, part: Part, after: Key, end: Key) -> str:
        """Ask for a slice, and return its id."""
        name, table = slice_id(secrets.randbits(64)), part.contract.table_of("docs").table
        condition = self.slices.condition(part, after, end)
        self.slices.signal(begin_row(name, table, self.slices.signal_table, condition, self.slices.form))
        return name

    def events(self, topic: str) -> list[ChangeEvent]:
        """Return what stands in a topic, partition by partition."""
        decoder = decoder_for(StoreKind.MONGODB, Converter.JSON, "not-used")
        found: list[ChangeEvent] = []
        kafka = LOOPBACK, self.layout.ports.kafka
        # One that the connector has not made yet has none.
        for partition in range(kafka_wire.topics(kafka).get(topic, 0)):
            offset, events = self._seen.get((topic, partition), (0, []))
            try:
                end = kafka_wire.end_offset(kafka, topic, partition)
            except kafka_wire.NotLed:
                end = offset  # made a moment ago
            while offset < end:
                records = kafka_wire.read(kafka, topic, partition, offset)
                if not records:
                    break
                for record in records:
                    offset = record.offset + 1
                    if record.value is not None and (event := decoder.decode(record.key, record.value)) is not None:
                        events.append(event)
            self._seen[topic, partition] = offset, events
            found += events
        return found

    def until(self, holds: Callable[[], Any], what: str) -> Any:  # noqa: ANN401 - whatever was waited for
        """Wait for something, and return it."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not (found := holds()):
            states = connectors.rest(self.layout, "feed").states(CONNECTOR)
            assert "FAILED" not in states, connectors.rest(self.layout, "feed").failure(CONNECTOR)
            assert time.monotonic() < deadline_s, what
            time.sleep(0.05)
        return found

    def whole(self, name: str) -> ChangeEvent:
        """Wait until the signal's own document was read, behind the slice, and until the window behind it is closed.

        The connector takes one more look at the signal collection. A signal that comes in its middle is left out
        of the reading of its own document, where it is the first that is read: where its slice has no document.
        """
        found: list[ChangeEvent] = self.until(
            lambda: [e for e in self.reads(SIGNALS) if name_of(e.after or {}) == name], f"{name} is not read again"
        )
        self.until(
            lambda: any(self.closes(each) for each in self.events(SIGNALS) if each.place > found[0].place), "end"
        )
        return found[0]

    @staticmethod
    def closes(event: ChangeEvent) -> bool:
        """Whether a change is the connector's closing of a window."""
        return (event.after or {}).get("type") == "snapshot-window-close"

    def reads(self, topic: str) -> list[ChangeEvent]:
        """Return the reads of slices in a topic."""
        return [event for event in self.events(topic) if event.reading is Reading.INCREMENTAL]

    def begun(self, name: str) -> ChangeEvent:
        """Return the change that brought a signal."""
        [found] = [e for e in self.events(SIGNALS) if name_of(e.after or {}) == name and e.reading is Reading.LIVE]
        return found

    def slice(self, part: Part, after: Key, end: Key) -> list[ChangeEvent]:
        """Have a slice read, and return its reads: they stand between its signal and the reading of that signal."""
        topic, wanted = part.contract.table_of("docs").topic, self.expected(part, after, end)
        name = self.read(part, after, end)
        last, first = self.whole(name).place, self.begun(name).place

        def between() -> list[ChangeEvent]:
            return [event for event in self.reads(topic) if first < event.place < last]

        self.until(lambda: len(between()) >= wanted, f"reads of {topic}")
        return between()

    def keys_read(self, part: Part, after: Key, end: Key) -> list[object]:
        """Have a slice read, and return the keys of its reads."""
        return [(event.after or {})["_id"] for event in self.slice(part, after, end)]

    def expected(self, part: Part, after: Key, end: Key) -> int:
        """Return how many documents a slice has."""
        from bson import json_util

        database, _, collection = part.contract.table_of("docs").table.partition(".")
        condition = json_util.loads(self.slices.condition(part, after, end))
        return self.admin[database][collection].count_documents(condition)


def part_of(name: str, kind: FieldKind) -> Part:
    """Return a collection of the shop as a contract's."""
    contract = EntityContract(
        entity=name,
        version=1,
        number=1,
        key=(KeyField("id", FieldType(kind), {"docs": "_id"}),),
        fields=(Field("n", FieldType(FieldKind.INT64), {"docs": "n"}),),
        authority="docs",
        stores=(StoreTable("docs", f"shop.{name}", f"mongo.shop.{name}"),),
        replicas=(Replica("pg", 3_000, 30_000, repair=RepairPolicy()),),
    )
    return Part(contract, "docs")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A stack of its own, made ready by init and fed by our own connector; wiped at the end."""
    folder = tmp_path_factory.mktemp("passwords")
    stack("wipe")
    stack("up", *PARTS)
    try:
        layout = commands.existing(NAME)
        told = commands.describe(layout)["mongodb"]

        def login(role: str, user: str) -> RoleSettings:
            if user in told["roles"]:
                return RoleSettings(user, Path(told["roles"][user]["password_file"]))
            (folder / role).write_text(secrets.token_hex(8))
            return RoleSettings(user, folder / role)

        users = {"admin": "root", "capture": "cdc_feed", "beacon": "b", "conduct": "c", "read": "r"}
        store = StoreSettings(
            "docs", StoreKind.MONGODB, "mongo", Converter.JSON, told["host"], told["port"], told["database"],
            roles={role: login(role, user) for role, user in users.items()},
        )  # fmt: skip
        with connect_mongodb(store, "admin") as admin:
            contracts = [part_of("orders", FieldKind.INT64).contract]
            admin["shop"].create_collection("orders")
            assert run(store, statements(store, contracts)) == []
            stack("connectors", "apply", CONNECTOR)
            slices = MongodbSliceStore(store)
            yield World(layout, store, admin, slices)
            slices.close()
    finally:
        stack("wipe")


def test_a_slice_is_read_and_then_its_own_signal(world: World) -> None:
    """The documents of the slice and no other, once each; the signal's own document stands behind them in the log."""
    part = world.collection("plain", list(range(10)))
    reads = world.slice(part, ("2",), ("6",))
    assert sorted((each.after or {})["_id"] for each in reads) == [3, 4, 5, 6]  # type: ignore[type-var]
    assert len({each.place for each in reads}) == 1
    assert {each.operation for each in reads} == {Operation.READ}


def test_a_collection_that_the_connector_has_seen_nothing_of_is_read(world: World) -> None:
    """After a restart it knows none, and takes a name for a plain one; one that is not there is no hindrance."""
    part = world.collection("quiet", [1, 2, 3])
    world.until(lambda: len(world.events("mongo.shop.quiet")) == 3, "the documents")
    rest = connectors.rest(world.layout, "feed")
    rest.act(CONNECTOR, "restart")
    world.until(lambda: rest.states(CONNECTOR) == ["RUNNING", "RUNNING"], "running again")
    assert world.keys_read(part_of("nowhere", FieldKind.INT64), (), ()) == []
    assert sorted(world.keys_read(part, (), ())) == [1, 2, 3]  # type: ignore[type-var]


def test_an_empty_slice_ends_too(world: World) -> None:
    """Of an empty collection, and where the condition chooses nothing."""
    empty, full = world.collection("empty", []), world.collection("full", [1])
    assert world.keys_read(empty, (), ()) == []
    assert world.keys_read(full, ("5",), ("9",)) == []


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("wide", [-(2**31), 0, 2**31, 2**53 + 1, 2**63 - 1]),
        ("texts", ["", "a", 'q"u\\o', "\N{SNOWMAN}", '{"$oid": "65a1b2c3d4e5f60718293a00"}', "z" * 500]),
        ("objects", [ObjectId(f"65a1b2c3d4e5f60718293a{n:02x}") for n in range(5)]),
    ],
)
def test_every_key_is_in_a_slice_that_the_connector_reads(world: World, name: str, ids: list[Any]) -> None:
    """Conditions as the connector parses them, slice by slice to the end."""
    part, found = world.collection(name, ids), list[object]()
    after: Key = ()
    while True:
        bound = world.slices.bound(Look(part, after, 2))
        found += world.keys_read(part, after, bound.end)
        if not bound.end:
            break
        after = bound.end
    assert sorted(map(str, found)) == sorted(map(str, ids))


def test_a_read_stands_behind_what_it_saw_and_before_all_else(world: World) -> None:
    """Documents that only ever count up, while slices are read: by the places of the log they never go back."""
    documents = 200
    part = world.collection("counted", list(range(documents)))
    stopping = threading.Event()

    def count() -> None:
        while not stopping.is_set():
            for key in range(0, documents, 7):
                world.admin["shop"]["counted"].update_one({"_id": key}, {"$inc": {"n": 1}})

    writer = threading.Thread(target=count)
    writer.start()
    try:
        for _ in range(5):
            world.whole(world.read(part, (), ()))
    finally:
        stopping.set()
        writer.join(20)
    last = {each["_id"]: each["n"] for each in world.admin["shop"]["counted"].find()}
    world.until(lambda: newest(world.events("mongo.shop.counted")) == last, "the last changes")
    events = world.events("mongo.shop.counted")
    assert len([each for each in events if each.reading is Reading.INCREMENTAL]) > documents
    for key in range(documents):
        of_key = sorted((e for e in events if (e.after or {})["_id"] == key), key=lambda e: e.place)
        counts = [(each.after or {})["n"] for each in of_key]
        assert counts == sorted(counts), key  # type: ignore[type-var]


def newest(events: list[ChangeEvent]) -> dict[object, object]:
    """Return what the newest change of each document left."""
    images = [each.after or {} for each in sorted(events, key=lambda each: each.place)]
    return {image["_id"]: image["n"] for image in images}


def test_the_word_of_a_slice_comes_as_it_was_said(world: World) -> None:
    """The connector only logs it."""
    word = SliceWord(slice_id(7), "orders", b"", b"", b"\x01" * 17)
    world.slices.signal(whole_row(word))
    assert world.until(lambda: [w for e in world.events(SIGNALS) if (w := word_of(e.after or {}))], "the word") == [
        word
    ]


def test_a_beacon_comes_with_its_server(world: World) -> None:
    """The document, whole, at its place."""
    with MongodbBeaconRows(world.store) as rows:
        assert rows.compare_and_set(Beat(0, 0, BeaconRow(65_537, 1, 10, 3)))
        server = rows.server
    topic = "mongo.driftline.driftline_beacon"
    [beacon] = world.until(lambda: [e for e in world.events(topic) if e.operation is Operation.UPDATE], "the beacon")
    image = beacon.after or {}
    told = [image[n] for n in ("store_id", "writer_epoch", "sequence", "issued_at_ms", "server")]
    assert told == ["docs", 65_537, 1, 10, server]
