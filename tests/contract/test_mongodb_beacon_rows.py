"""The beacon's document in MongoDB does what the row of SQL stores does (`tests/integration/test_beacon_stack.py`)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bson.int64 import Int64
from pymongo import MongoClient
from secantus import SecantusDBServer

from app.adapters.beacon_rows import beacon_rows
from app.adapters.mongodb_beacon_rows import MongodbBeaconRows
from app.adapters.mongodb_slice_store import MongodbSliceStore
from app.codec.slice_signals import SignalRow
from app.core.beacon_writer import BeaconRow, Beat
from app.core.errors import ContractViolation, Unready
from app.settings import StoreSettings
from tests.mongodb_server import SCHEMA, Admin, mongodb_server, mongodb_store

pytestmark = pytest.mark.stack

FIRST = {
    "_id": "docs",
    "store_id": "docs",
    "writer_epoch": Int64(0),
    "sequence": Int64(0),
    "issued_at_ms": Int64(0),
    "previous_acknowledged_ms": Int64(0),
    "server": "",
}
NOT_PRIMARY, TIMED_OUT, WRITE_CONCERN_TIMED_OUT = 10107, 50, 64


@pytest.fixture
def admin(server: SecantusDBServer) -> Iterator[Admin]:
    """A client of it, with a fresh beacon's document."""
    with MongoClient[dict[str, Any]](server.uri) as client:
        client.drop_database(SCHEMA)
        client[SCHEMA]["driftline_beacon"].insert_one(dict(FIRST))
        yield client
        client.admin.command("configureFailPoint", "failCommand", mode="off")


@pytest.fixture
def store(server: SecantusDBServer, admin: Admin) -> StoreSettings:
    """The store."""
    del admin
    return mongodb_store(server)


@pytest.fixture
def rows(store: StoreSettings) -> Iterator[MongodbBeaconRows]:
    """The adapter that the dispatch gives."""
    made = beacon_rows(store)
    assert isinstance(made, MongodbBeaconRows)
    yield made
    made.close()


def beat(expected: tuple[int, int], epoch: int, sequence: int) -> Beat:
    """A beat that expects what stands there."""
    return Beat(*expected, BeaconRow(epoch, sequence, 10 * sequence, 3))


def fail(admin: Admin, command: str, **how: object) -> None:
    """Let the next call of a command fail."""
    admin.admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data={"failCommands": [command], **how})


def test_the_document_is_written_only_where_it_is_as_expected(rows: MongodbBeaconRows) -> None:
    """Compare-and-set: the second writer with the same expectation is refused and changes nothing."""
    assert rows.read() == BeaconRow(0, 0, 0, 0)
    first = beat((0, 0), 65_537, 1)
    assert rows.compare_and_set(first)
    assert not rows.compare_and_set(beat((0, 0), 65_538, 1))
    assert not rows.compare_and_set(beat((65_537, 0), 65_537, 2))
    assert rows.read() == first.row


def test_of_writers_that_expect_the_same_one_is_heard(store: StoreSettings) -> None:
    """Twelve at once: one True, and its document stands."""
    heard: list[int] = []
    ready = threading.Barrier(12)

    def write(epoch: int) -> None:
        with MongodbBeaconRows(store) as mine:
            mine.read()
            ready.wait(20)
            if mine.compare_and_set(beat((0, 0), epoch, 1)):
                heard.append(epoch)

    threads = [threading.Thread(target=write, args=(epoch,)) for epoch in range(1, 13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with MongodbBeaconRows(store) as mine:
        assert heard == [mine.read().epoch]


def test_numbers_are_of_64_bits_and_the_writer_is_named(rows: MongodbBeaconRows, admin: Admin) -> None:
    """Whatever their size: what reads them elsewhere meets one type. The wall's time is a date."""
    rows.read()
    assert rows.compare_and_set(beat((0, 0), 65_537, 1))
    collection = admin[SCHEMA]["driftline_beacon"]
    for name in ("writer_epoch", "sequence", "issued_at_ms", "previous_acknowledged_ms"):
        assert collection.count_documents({name: {"$type": "long"}}) == 1, name
    assert collection.count_documents({"wall_at": {"$type": "date"}, "server": rows.server, "store_id": "docs"}) == 1


def test_the_server_is_named_by_set_and_collection(rows: MongodbBeaconRows, admin: Admin) -> None:
    """A collection that was restored has another UUID, which is seen as soon as the document is read."""
    rows.read()
    before = rows.server
    assert re.fullmatch(r"secantus/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", before)
    admin[SCHEMA].drop_collection("driftline_beacon")
    admin[SCHEMA]["driftline_beacon"].insert_one(dict(FIRST))
    rows.read()
    assert rows.server != before
    assert rows.server.startswith("secantus/")


def test_a_beat_before_any_read_names_the_server_too(rows: MongodbBeaconRows, admin: Admin) -> None:
    """No document without its writer's name."""
    assert rows.compare_and_set(beat((0, 0), 65_537, 1))
    [found] = admin[SCHEMA]["driftline_beacon"].find()
    assert found["server"].startswith("secantus/")
    assert found["server"] != "secantus/"


@pytest.mark.parametrize("code", [NOT_PRIMARY, TIMED_OUT])
def test_a_server_that_cannot_now_is_unready_and_nothing_is_written_twice(
    rows: MongodbBeaconRows, admin: Admin, code: int
) -> None:
    """An election, a timeout: the row itself tells what became of the beacon. The driver tries no write again."""
    rows.read()
    fail(admin, "update", errorCode=code)
    with pytest.raises(Unready, match=r"beacon document"):
        rows.compare_and_set(beat((0, 0), 65_537, 1))
    assert rows.read() == BeaconRow(0, 0, 0, 0)
    fail(admin, "find", errorCode=code)
    with pytest.raises(Unready):
        rows.read()
    assert rows.compare_and_set(beat((0, 0), 65_537, 1))


def test_a_broken_connection_is_unready(rows: MongodbBeaconRows, admin: Admin) -> None:
    """Whether the beacon was written is not known: never told as refused."""
    rows.read()
    fail(admin, "update", closeConnection=True)
    with pytest.raises(Unready):
        rows.compare_and_set(beat((0, 0), 65_537, 1))


def test_a_beacon_that_no_majority_has_is_unready(rows: MongodbBeaconRows, admin: Admin) -> None:
    """It may be rolled back by the next primary."""
    rows.read()
    fail(admin, "update", writeConcernError={"code": WRITE_CONCERN_TIMED_OUT, "errmsg": "waiting for replication"})
    with pytest.raises(Unready, match="waiting for replication"):
        rows.compare_and_set(beat((0, 0), 65_537, 1))


def test_a_store_without_the_document_says_what_to_run(store: StoreSettings) -> None:
    """The hint names the command that makes it."""
    with (
        MongodbBeaconRows(replace(store, name="nobody")) as rows,
        pytest.raises(ContractViolation, match="driftline init"),
    ):
        rows.read()


def test_a_document_that_is_no_beacon_is_told(rows: MongodbBeaconRows, admin: Admin) -> None:
    """Somebody else's fields end in an error, not in a traceback."""
    admin[SCHEMA]["driftline_beacon"].update_one({"_id": "docs"}, {"$set": {"sequence": "many"}})
    with pytest.raises(ContractViolation, match="is no beacon"):
        rows.read()


def test_a_document_with_no_number_above_its_own_is_no_beacon(rows: MongodbBeaconRows, admin: Admin) -> None:
    """A writer goes on above what it reads: it would end, and with it the beacons of all other stores."""
    admin[SCHEMA]["driftline_beacon"].update_one({"_id": "docs"}, {"$set": {"writer_epoch": Int64(2**63 - 1)}})
    with pytest.raises(ContractViolation, match="is no beacon"):
        rows.read()


def test_a_certificate_that_is_not_there_is_unready(store: StoreSettings, tmp_path: Path) -> None:
    """As while it is put in another's place; slices likewise."""
    missing = replace(store, ca_file=tmp_path / "not there")
    with pytest.raises(Unready):
        MongodbBeaconRows(missing).read()
    with pytest.raises(Unready):
        MongodbSliceStore(missing).signal(SignalRow("a", "log", "{}"))


def test_a_store_that_is_down_says_where_and_whom_to_ask(store: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed port is `Unready` with the address and the role."""
    monkeypatch.setattr("app.adapters.mongodb_client._CONNECT_MS", 200)
    with MongodbBeaconRows(replace(store, port=1)) as rows, pytest.raises(Unready, match=r"127\.0\.0\.1:1.*beacon"):
        rows.read()


def test_a_store_that_comes_back_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer's client is made anew, whatever the old one held; its collection is the same one."""
    monkeypatch.setattr("app.adapters.mongodb_client._CONNECT_MS", 500)
    with mongodb_server(tmp_path / "data") as first:
        port = first.port
        with MongoClient[dict[str, Any]](first.uri) as client:
            client[SCHEMA]["driftline_beacon"].insert_one(dict(FIRST))
        rows = MongodbBeaconRows(mongodb_store(first))
        rows.read()
    with pytest.raises(Unready):
        rows.compare_and_set(beat((0, 0), 65_537, 1))
    before = rows.server
    with mongodb_server(tmp_path / "data", port=port):
        assert rows.compare_and_set(beat((0, 0), 65_537, 1))
        rows.read()
        assert rows.server == before
        rows.close()


def test_the_command_writes_beacons_where_the_role_is_given(store: StoreSettings, tmp_path: Path) -> None:
    """Into a store of MongoDB with the role, and into no other; SIGTERM ends it with 0."""
    told = {"kind": "mongodb", "converter": "json", "host": store.host, "port": store.port, "database": store.database}
    settings = {
        "deployment": "beacontest",
        "bootstrap": "127.0.0.1:1",
        "keys_dir": "keys",
        "state_dir": "state",
        "contracts_dir": "contracts",
        "placeholder_file": "placeholder",
        "beacon_interval_ms": 50,
        "stores": {
            "docs": {**told, "topic_prefix": "docs", "roles": {"beacon": {"user": "b"}}},
            "silent": {**told, "topic_prefix": "silent", "port": 1},
        },
    }
    path = tmp_path / "driftline.yaml"
    path.write_text(json.dumps(settings))
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "app", "--config", str(path), "beacon"]
        process = subprocess.Popen(command, stderr=log)
    try:
        with MongodbBeaconRows(store) as rows:
            deadline_s = time.monotonic() + 30
            while rows.read().sequence < 3:
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline_s
                time.sleep(0.05)
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait(10)
    assert "silent" not in (tmp_path / "log").read_text()
