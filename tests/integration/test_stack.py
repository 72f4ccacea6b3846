"""The local stack for real: up after any accident, streaming with proof, closed to the outside, gone after `down`."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from stack_parts import commands, connectors, kafka_wire, mariadb, postgres
from stack_parts.failure import StackError
from stack_parts.layout import PROJECT, Layout
from stack_parts.part import record_of
from stack_parts.process import Process, recorded
from stack_parts.progress import Progress

pytestmark = [pytest.mark.stack, pytest.mark.own_stack]
T = TypeVar("T")

NAME = "stack-test"
STACK = PROJECT / "scripts" / "stack"
PIPELINE = ("pipeline-postgres-source", "pipeline-mariadb-sink", "pipeline-mariadb-sink-large")
TABLES = ("customers", "products", "orders", "documents", "ledger_entries", "pipeline_sins")


def stack(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the script as a person would."""
    command = [sys.executable, str(STACK), *words, "--name", NAME]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


def good(*words: str) -> str:
    """Run the script and expect success."""
    done = stack(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def layout() -> Iterator[Layout]:
    """A stack of its own with the shop's tables in PostgreSQL, fed and copied; wiped at the end."""
    stack("wipe")
    done = stack("up")
    if done.returncode and not os.environ.get("CI"):
        pytest.skip(f"the local stack does not start here: {done.stderr}")
    assert done.returncode == 0, done.stdout + done.stderr
    try:
        made = commands.existing(NAME)
        postgres.sql(made, SHOP)
        good("connectors", "apply")
        good("connectors", "apply", *PIPELINE)
        yield made
    finally:
        good("wipe")


SHOP = """
SET ROLE shop_owner;
CREATE TABLE customers (id bigint PRIMARY KEY, name text);
CREATE TABLE products (id bigint PRIMARY KEY, name text);
CREATE TABLE orders (id bigint PRIMARY KEY, note text DEFAULT 'none', amount numeric(12,2));
CREATE TABLE documents (id bigint PRIMARY KEY, body text, revision int);
ALTER TABLE documents ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE TABLE ledger_entries (id bigint PRIMARY KEY, amount numeric(12,2));
CREATE TABLE pipeline_sins (id bigint PRIMARY KEY, body text, measure double precision, exact numeric, touched int);
ALTER TABLE pipeline_sins ALTER COLUMN body SET STORAGE EXTERNAL;
RESET ROLE;
CREATE TABLE driftline.driftline_ledger (command_id text PRIMARY KEY, before_image bytea, outcome text);
"""


def events(layout: Layout, topic: str) -> list[dict[str, Any]]:
    """Every envelope of a topic, by partition and offset."""
    address = ("127.0.0.1", layout.ports.kafka)
    found = []
    for partition in range(kafka_wire.topics(address).get(topic, 0)):
        offset, end = 0, kafka_wire.end_offset(address, topic, partition)
        while offset < end:
            records = kafka_wire.read(address, topic, partition, offset)
            if not records:
                break
            found += [json.loads(record.value) for record in records if record.value]
            offset = records[-1].offset + 1
    return found


def awaited(look: Callable[[], T | None], what: str, seconds: float = 120.0) -> T:
    """The first answer that is one."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")


def event_where(layout: Layout, topic: str, holds: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    """The first event of a topic for which something holds, awaited."""
    return awaited(lambda: next((event for event in events(layout, topic) if holds(event)), None), what)


def test_a_second_up_and_apply_change_nothing(layout: Layout) -> None:
    """Both may be run any number of times."""
    before = {part: recorded(record_of(layout, part)) for part in commands.PARTS}
    assert good("up").count("was running") == len(commands.PARTS)
    told = good("connectors", "apply")
    assert told.count("unchanged") == len(connectors.FEED)
    assert told.count("a marker row was seen in Kafka") == len(connectors.FEED)
    assert {part: recorded(record_of(layout, part)) for part in commands.PARTS} == before


def test_status_tells_other_programs_where_everything_is(layout: Layout) -> None:
    """The JSON of `status` is that of `stack.json`, with the parts; every file it names is there and private."""
    told = json.loads(good("status", "-o", "json"))
    written = json.loads((layout.folder / "stack.json").read_text(encoding="ascii"))
    assert {key: told[key] for key in written} == written
    assert {state["state"] for state in told["parts"].values()} == {"running"}
    for database in ("postgres", "mariadb"):
        for role in told[database]["roles"].values():
            file = Path(role["password_file"])
            assert file.stat().st_mode & 0o777 == 0o600
            assert file.read_text(encoding="ascii")
    assert Path(told["placeholder_file"]).read_text(encoding="ascii")


def test_nothing_listens_beyond_loopback(layout: Layout) -> None:
    """Every port of the stack is open on 127.0.0.1 and on no other address."""
    local = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    seen = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            _slot, here, _there, state, *_rest = line.split()
            address, port = here.split(":")
            if state == "0A" and layout.ports.base <= int(port, 16) < layout.ports.base + 8:
                seen.add(int(port, 16))
                assert address in local, f"port {int(port, 16)} is open on {address}"
    # The registry's management port is reserved for versions that have one.
    assert seen >= set(range(layout.ports.base, layout.ports.base + 8)) - {layout.ports.registry_management}


def test_temporary_tables_lie_in_the_stack_s_own_folder(layout: Layout) -> None:
    """A server that starts beside this one clears the folder it was given: a pipeline's query failed of that."""
    told = mariadb.sql(layout, "SELECT @@tmpdir").strip()
    assert Path(told).is_relative_to(layout.databases)
    assert (Path(told).stat().st_mode & 0o777) == 0o700


def test_topics_were_made_before_any_row(layout: Layout) -> None:
    """An empty table has its topic on both sides; own tables and marks have a single partition."""
    topics = kafka_wire.topics(("127.0.0.1", layout.ports.kafka))
    for table in TABLES:
        assert topics[f"pg.public.{table}"] == 3
        assert topics[f"my.shop.{table}"] == 3
        assert topics[f"pipe.public.{table}"] == 3
    for prefix in ("pg", "my"):
        for single in (
            f"{prefix}.transaction",
            f"__debezium-heartbeat.{prefix}",
            f"{prefix}.driftline.driftline_beacon",
        ):
            assert topics[single] == 1


def test_what_the_feed_says_is_what_the_row_says(layout: Layout) -> None:
    """A NULL is no default, an untouched large value is our own placeholder, a truncate passes, bytes stay out."""
    postgres.sql(layout, "INSERT INTO orders VALUES (1, NULL, 12.30)")
    order = event_where(layout, "pg.public.orders", lambda event: event["op"] == "c", "the order")
    assert order["after"] == {"id": 1, "note": None, "amount": "12.30"}

    postgres.sql(layout, "INSERT INTO documents VALUES (1, repeat('x', 9000), 1)")
    postgres.sql(layout, "UPDATE documents SET revision = 2")
    update = event_where(layout, "pg.public.documents", lambda event: event["op"] == "u", "the update")
    assert update["after"]["body"] == (layout.secrets / "placeholder").read_text(encoding="ascii")

    postgres.sql(layout, "INSERT INTO driftline.driftline_ledger VALUES ('c1', '\\x0102', 'applied')")
    row = event_where(layout, "pg.driftline.driftline_ledger", lambda event: event["op"] == "c", "the ledger row")
    assert row["after"] == {"command_id": "c1", "outcome": "applied"}

    # The sink fails on a truncate of a table whose copy it has not made yet, so it gets a row first.
    postgres.sql(layout, "INSERT INTO products VALUES (1, 'pen')")
    event_where(layout, "my.shop.products", lambda event: event["op"] == "c", "the copy")
    postgres.sql(layout, "TRUNCATE products")
    for topic in ("pg.public.products", "my.shop.products"):
        event_where(layout, topic, lambda event: event["op"] == "t", "the truncate")


def test_the_pipeline_copies_and_sins_as_ordinary_ones_do(layout: Layout) -> None:
    """Rows arrive in MariaDB; an untouched large value, NaN and a bare numeric arrive wrong, and nobody fails."""
    postgres.sql(layout, "INSERT INTO customers VALUES (7, 'Ada'); INSERT INTO ledger_entries VALUES (7, 1.50)")
    copy = (
        "SELECT (SELECT name FROM shop.customers WHERE id = 7), (SELECT amount FROM shop.ledger_entries WHERE id = 7)"
    )
    awaited(lambda: _rows(layout, copy) == [["Ada", "1.50"]] or None, "the copies")
    event_where(layout, "my.shop.customers", lambda event: event["after"]["name"] == "Ada", "the copy's own change")

    sins = "INSERT INTO pipeline_sins VALUES (1, repeat('y', 9000), 'NaN', 1234567890.12345678901234567890, 0)"
    postgres.sql(layout, sins)
    awaited(lambda: _rows(layout, "SELECT length(body) FROM shop.pipeline_sins") == [["9000"]] or None, "the row")
    postgres.sql(layout, "UPDATE pipeline_sins SET touched = 1")
    awaited(lambda: _rows(layout, "SELECT touched FROM shop.pipeline_sins") == [["1"]] or None, "the update")
    (row,) = _rows(layout, "SELECT body, measure, exact FROM shop.pipeline_sins")
    assert row[:2] == ["__debezium_unavailable_value", "0"]
    assert float(row[2]) == 1234567890.1234567
    for name in PIPELINE:
        assert set(connectors.rest(layout, "pipeline").states(name)) == {"RUNNING"}


def test_connect_holds_no_password(layout: Layout) -> None:
    """What Connect tells of a connector, and what it keeps in its topic, has placeholders where secrets go."""
    secrets = [file.read_text(encoding="ascii") for file in layout.secrets.glob("*/*")]
    kept = ""
    for worker in ("feed", "pipeline"):
        url = connectors.rest(layout, worker).url + "/connectors?expand=info&expand=status"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own stack
            kept += answer.read().decode()
        records = kafka_wire.read(("127.0.0.1", layout.ports.kafka), f"_{worker}_configs", 0, 0)
        kept += "".join(str(record.value) for record in records)
    assert "secrets/feed.properties" in kept
    assert not any(secret in kept for secret in secrets)


def test_a_mistake_in_a_connector_is_told_in_connects_words(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validation names the field; nothing is created."""
    config = {**connectors.load("postgres-source").config, "plugin.name": "nonsense", "topic.prefix": "other"}
    (tmp_path / "broken-source.json").write_text(json.dumps(config), encoding="utf-8")
    monkeypatch.setattr(connectors, "FOLDER", tmp_path)
    with pytest.raises(StackError, match=r"plugin\.name"):
        connectors.apply(layout, ["broken-source"], Progress(quiet=True))
    assert connectors.rest(layout, "feed").states("broken-source") == []


def test_the_feed_worker_lets_no_connector_change_its_clients(layout: Layout) -> None:
    """An override of a producer's settings could undo exactly-once delivery."""
    config = {**connectors.load("mariadb-source").config, "producer.override.acks": "0", "topic.prefix": "other"}
    faults = connectors.rest(layout, "feed").faults("mariadb-source", config)
    assert any("acks" in fault for fault in faults), faults


def test_roles_may_do_their_work_and_no_more(layout: Layout) -> None:
    """Capture roles cannot write, the sink cannot leave the shop, the owner cannot touch Driftline's tables."""
    for role, statement in (
        ("cdc_feed", "DELETE FROM public.orders"),
        ("cdc_pipeline", "SELECT * FROM driftline.driftline_ledger"),
        ("shop_sink", "SELECT * FROM stack.marker"),
        ("shop_owner", "DELETE FROM driftline.driftline_ledger"),
    ):
        with pytest.raises(StackError, match="permission denied"):
            postgres.sql(layout, f"SET ROLE {role}; {statement}")
    grants = {
        role: "\n".join(_grants(layout, role)) for role in ("cdc_feed", "cdc_pipeline", "shop_sink", "shop_owner")
    }
    for role, told in grants.items():
        assert ("`driftline`" in told) == (role == "cdc_feed")
        assert "ALL PRIVILEGES ON *.*" not in told
    assert "INSERT" not in grants["cdc_feed"] + grants["cdc_pipeline"]


def test_everything_killed_comes_back_and_streams_again(layout: Layout) -> None:
    """To kill -9 all parts at once loses nothing: `up` and `apply` find the same data and go on."""
    rows = _rows(layout, "SELECT count(*) FROM shop.customers")
    for part in commands.PARTS:
        process = recorded(record_of(layout, part))
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        _await_end(process)
    assert stack("status").returncode == 1
    good("up")
    good("connectors", "apply")
    good("connectors", "apply", *PIPELINE)
    assert _rows(layout, "SELECT count(*) FROM shop.customers") == rows
    postgres.sql(layout, "INSERT INTO customers VALUES (8, 'Grace')")
    awaited(lambda: _rows(layout, "SELECT name FROM shop.customers WHERE id = 8") == [["Grace"]] or None, "the copy")


def test_up_cut_short_anywhere_is_finished_by_the_next(layout: Layout) -> None:
    """`up` killed at several moments leaves nothing that the next one cannot finish, and no server runs twice."""
    good("down")
    for moment in (0.15, 0.6, 1.5):
        with subprocess.Popen([sys.executable, str(STACK), "up", "--name", NAME], stdout=subprocess.DEVNULL) as cut:
            time.sleep(moment)
            cut.kill()
    good("up")
    for part in commands.PARTS:
        process = recorded(record_of(layout, part))
        assert process is not None
        assert process.is_alive()
    assert len(_of_this_stack(layout, b"java")) == 4
    good("connectors", "apply")


def test_down_leaves_nothing_running(layout: Layout) -> None:
    """No process names the stack's folder, and every port is free."""
    good("down")
    assert _of_this_stack(layout, b"") == []
    for port in range(layout.ports.base, layout.ports.base + 8):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert stack("status").returncode == 1
    assert good("down") != ""


def _await_end(process: Process) -> None:
    awaited(lambda: None if process.is_alive() else True, f"the end of pid {process.pid}")


def _rows(layout: Layout, query: str) -> list[list[str]]:
    try:
        return [line.split("\t") for line in mariadb.sql(layout, query).splitlines()]
    except StackError as failure:
        if "doesn't exist" in str(failure):
            return []
        raise


def _grants(layout: Layout, role: str) -> list[str]:
    return mariadb.sql(layout, f"SHOW GRANTS FOR '{role}'@'127.0.0.1'").splitlines()


def _of_this_stack(layout: Layout, program: bytes) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command_line = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(layout.folder) + b"/" in command_line and program in command_line:
            found.append(int(process.name))
    return found
