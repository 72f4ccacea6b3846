# ruff: noqa: S608 - constants of these tests stand in the statements, never input
"""The applier as a process, on real Kafka, PostgreSQL and MariaDB: paused, approved, killed, and both ways round."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

import psycopg
import pymysql
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from app.adapters.kafka import KafkaClients
from app.adapters.kafka_read import KafkaEnds
from app.adapters.logs import log
from app.adapters.mysql_rows import MysqlRows
from app.adapters.planner_trust import PlannerTrust
from app.adapters.postgres_rows import PostgresRows
from app.adapters.seal import KeySeals, read_key
from app.adapters.sql_rows import SqlRows
from app.adapters.system_clock import wall_ms
from app.adapters.topic_log import TopicLog
from app.applier.word_reader import WordReader
from app.codec.contract_file import load_contracts
from app.codec.control import KEY, encode_control
from app.codec.records import FixedSchemas, RecordCodec
from app.core.canonical_key import key_writer
from app.core.command import Action, CommandOutcome, Outcome, RefusalReason, RepairCommand, command_id, undo_id
from app.core.contract import FieldKind, FieldType
from app.core.digest import keyed_hash, partition_of
from app.core.store import StoreKind
from app.core.switch import Control, Said
from app.settings import load_settings
from app.topics import ALL, APPROVALS, CONTROL, OUTCOMES, QUARANTINE, REPAIRS, Topic
from tests.integration.running_stack import part_killed, running_stack

pytestmark = pytest.mark.stack

SCHEMA = "applier_process"
OWN = "applier_process_own"
PATIENCE_S = 30.0
PROJECT = Path(__file__).resolve().parents[2]
CONTRACT = """
entity: {entity}
description: "Goods, for the applier's tests."
version: 1
authority: {{store: {authority}, table: {schema}.{entity}}}
replicas:
  - store: {replica}
    table: {schema}.{entity}
    window_ms: 3000
    repair: {{mode: apply, deletes: true, transform: [name]}}
key:
  id: {{type: int64}}
fields:
  name: {{type: string, normalise: [trim_end, lower]}}
  price: {{type: decimal, scale: 2}}
  paid: {{type: bool}}
  bought_at: {{type: instant}}
"""
ENTITIES = {"goods": ("pg", "my"), "wares": ("my", "pg")}
"""Entity: authority and replica. Both ways round."""


def key_of(number: int) -> bytes:
    """Return a canonical key."""
    return key_writer(FieldType(FieldKind.INT64))(number)


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def free_port() -> int:
    """Return a port of this machine that nobody listens on: the stack's own block has none to spare."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Deployment:
    """A deployment of these tests' own on the running stack."""

    def __init__(self, folder: Path, told: dict[str, Any]) -> None:
        self.name = f"applier-{uuid4().hex[:8]}"
        self.folder = folder
        self.told = told
        self.processes: list[subprocess.Popen[bytes]] = []
        self.pg = psycopg.connect(
            host=told["postgres"]["host"],
            port=told["postgres"]["port"],
            dbname=told["postgres"]["database"],
            user="postgres",
            password=self._password("postgres", "postgres"),
            autocommit=True,
        )
        self.my = self._open_mariadb()
        self.drifts = 0
        self.rows: dict[str, SqlRows] = {}
        self.clients = KafkaClients(told["kafka"]["bootstrap"], {})
        self._clean()
        self._make_tables()
        self._write_files()

    def begin(self) -> None:
        """Make the deployment ready."""
        self.run("init", "--yes")
        settings = load_settings(self.config)
        self.settings = settings
        contracts = load_contracts(settings.contracts_dir, settings)
        self.contracts = {c.entity: c for c in contracts}
        self.digest_key = read_key(settings.keys_dir / "digest.key")
        self.seals = KeySeals.from_folder(settings.keys_dir)
        self.trust = PlannerTrust.from_folder(self.name, settings.keys_dir, wall_ms)
        self.run("keys", "make", "approver", "anna")
        self.rows = {
            "pg": PostgresRows(settings.stores["pg"], contracts, self.digest_key),
            "my": MysqlRows(settings.stores["my"], contracts, self.digest_key),
        }
        self.codec = RecordCodec(self.name, FixedSchemas())
        self.sink = self.clients.producer("applier-test")

    def _open_mariadb(self) -> pymysql.Connection[Any]:
        return pymysql.connect(
            host=self.told["mariadb"]["host"],
            port=self.told["mariadb"]["port"],
            user="root",
            password=self._password("mariadb", "root"),
            autocommit=True,
            init_command="SET SESSION time_zone = '+00:00'",
        )

    def mariadb_is_back(self) -> None:
        """Connect anew to a server that was gone."""
        self.my.close()
        self.my = self._open_mariadb()
        self.rows["my"].close()

    def _password(self, server: str, role: str) -> str:
        return Path(self.told[server]["roles"][role]["password_file"]).read_text().strip()

    def sql(self, store: str, text: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run a statement as an administrator."""
        cursor: Any = self.pg.cursor() if store == "pg" else self.my.cursor()
        cursor.execute(text, parameters or None)
        return list(cursor.fetchall()) if cursor.description else []

    def _clean(self) -> None:
        self.sql("pg", f"DROP SCHEMA IF EXISTS {SCHEMA}, {OWN} CASCADE")
        for role in ("beacon", "read", "apply"):
            user = f"applier_process_{role}"
            if self.sql("pg", "SELECT 1 FROM pg_roles WHERE rolname = %s", user):
                self.sql("pg", f"DROP OWNED BY {user}")
                self.sql("pg", f"DROP ROLE {user}")
            self.sql("my", f"DROP USER IF EXISTS {user}@'%'")
        for schema in (SCHEMA, OWN):
            self.sql("my", f"DROP DATABASE IF EXISTS {schema}")

    def _make_tables(self) -> None:
        self.sql("pg", f"CREATE SCHEMA {SCHEMA}")
        self.sql("my", f"CREATE DATABASE {SCHEMA} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        for entity in ENTITIES:
            self.sql(
                "pg",
                f"CREATE TABLE {SCHEMA}.{entity} (id bigint PRIMARY KEY, name text, price numeric(12,2), paid boolean,"
                " bought_at timestamptz)",
            )
            self.sql(
                "my",
                f"CREATE TABLE {SCHEMA}.{entity} (id bigint PRIMARY KEY, name varchar(40), price decimal(12,2),"
                " paid boolean, bought_at datetime(6)) ENGINE = InnoDB",
            )

    def _write_files(self) -> None:
        stores = {}
        for store, server, admin in (("pg", "postgres", "postgres"), ("my", "mariadb", "root")):
            told = self.told[server]
            logins = {
                role: {"user": f"applier_process_{role}", "password_file": f"keys/{server}-{role}"}
                for role in ("beacon", "read", "apply")
            }
            stores[store] = {
                "kind": server,
                "topic_prefix": store,
                "converter": "json",
                "host": told["host"],
                "port": told["port"],
                "database": told["database"] if store == "pg" else SCHEMA,
                "schema": OWN,
                "roles": {"admin": told["roles"][admin], "capture": told["roles"]["cdc_feed"], **logins},
            }
        settings = {
            "deployment": self.name,
            "bootstrap": self.told["kafka"]["bootstrap"],
            "keys_dir": "keys",
            "approver_key_file": "keys/approver.key",
            "state_dir": "state",
            "contracts_dir": "contracts",
            "placeholder_file": "keys/placeholder",
            "partitions": 2,
            "stores": stores,
            "applier": {"http_port": free_port()},
        }
        self.config.write_text(json.dumps(settings))
        (self.folder / "contracts").mkdir()
        for entity, (authority, replica) in ENTITIES.items():
            text = CONTRACT.format(entity=entity, authority=authority, replica=replica, schema=SCHEMA)
            (self.folder / "contracts" / f"{entity}.yaml").write_text(text)

    @property
    def config(self) -> Path:
        """The deployment's settings."""
        return self.folder / "driftline.yaml"

    def _call(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "app", "--config", str(self.config), *arguments]

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command to its end and return what it printed."""
        done = subprocess.run(self._call(*arguments), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout

    def started(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command that goes on meanwhile."""
        process = subprocess.Popen(self._call(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def start(self, failpoint: str = "", sent: str = "SIGKILL") -> subprocess.Popen[bytes]:
        """Start an applier; if a step is named, one that dies there, falls asleep by SIGSTOP, or waits for a file."""
        dying = [sys.executable, "-m", "tests.integration.dying_applier", str(self.config), failpoint, sent]
        log = (self.folder / "applier.log").open("ab")
        process = subprocess.Popen(dying if failpoint else self._call("applier"), cwd=PROJECT, stderr=log, stdout=log)
        log.close()
        self.processes.append(process)
        return process

    @property
    def log(self) -> str:
        """What all appliers have said so far."""
        return (self.folder / "applier.log").read_text()

    def await_ready(self) -> None:
        """Wait until the applier that was started reads commands."""
        port = self.settings.applier.http_port

        def is_ready() -> bool:
            try:
                with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        until(is_ready, "the applier to be ready")

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """Stop an applier that has begun to read, as an operator does."""
        self.await_ready()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0

    def put(self, store: str, entity: str, number: int, name: str | None) -> None:
        """Write or delete a row as the application does."""
        self.sql(store, f"DELETE FROM {SCHEMA}.{entity} WHERE id = %s", number)
        if name is not None:
            self.sql(
                store,
                f"INSERT INTO {SCHEMA}.{entity} VALUES (%s, %s, 12.50, true, '2026-02-03 04:05:06.123456')",
                number,
                name,
            )

    def is_locked(self, store: str, entity: str, number: int) -> bool:
        """Tell whether somebody is writing a row."""
        try:
            self.sql(store, f"SELECT id FROM {SCHEMA}.{entity} WHERE id = %s FOR UPDATE NOWAIT", number)
        except (psycopg.OperationalError, pymysql.OperationalError):
            return True
        return False

    def panic_elsewhere(self) -> None:
        """Say stop as `driftline panic` does on another host, whose file nobody sees here."""
        word = Control(Said.PANIC, "bert", wall_ms(), "a test")
        self.sink.send(CONTROL.name(self.name), 0, KEY, encode_control(word))
        self.sink.flush()

    def names(self, store: str, entity: str, number: int) -> list[str]:
        """Return the names of a row: one, or none where there is no row."""
        return [row[0] for row in self.sql(store, f"SELECT name FROM {SCHEMA}.{entity} WHERE id = %s", number)]

    def command(self, entity: str, number: int) -> RepairCommand:
        """Plan the repair of a row as the stores are now."""
        self.drifts += 1
        authority, replica = ENTITIES[entity]
        contract = self.contracts[entity]
        key = key_of(number)
        expected = self.rows[replica].read([(entity, key)])[0].digest
        intended = self.rows[authority].read([(entity, key)])[0].digest
        key_hash = keyed_hash(self.digest_key, contract.number, key)
        finding_id = self.drifts.to_bytes(16, "big")
        return RepairCommand(
            command_id=command_id(finding_id, replica, expected, intended),
            finding_id=finding_id,
            incident_id=b"",
            entity=entity,
            contract_version=contract.version,
            authority=authority,
            target=replica,
            action=Action.UPSERT if intended else Action.DELETE,
            kind="different",
            sealed_key=self.seals.seal_key(entity, key),
            key_hash=key_hash,
            partition=partition_of(key_hash, 2),
            expected_digest=expected,
            intended_digest=intended,
            authority_position=b"",
            needs_approval=not intended,
            reason="a test",
            expires_at_ms=wall_ms() + 3_600_000,
            fence_token=0,
            trace_id=b"t" * 16,
        )

    def send(self, command: RepairCommand) -> None:
        """Sign a command and put it on its topic, as the planner does."""
        self.put_on_topic(self.trust.signed(command))

    def put_on_topic(self, command: RepairCommand) -> None:
        """Put a command on its topic as it stands, as anybody may who may write the topic."""
        topic = REPAIRS.name(self.name)
        self.sink.send(topic, command.partition, command.command_id, self.codec.command(command))
        self.sink.flush()

    def outcomes(self, command: RepairCommand) -> list[CommandOutcome]:
        """Return what was said of a command so far."""
        log = TopicLog(self.clients, "applier-test-reader")
        found = [self.codec.read_outcome(r.value) for r in log.until_now([OUTCOMES.name(self.name)])]
        return [outcome for outcome in found if outcome.command_id == command.command_id]

    def await_outcome(self, command: RepairCommand, count: int = 1) -> CommandOutcome:
        """Wait for the outcome of a command."""
        until(lambda: len(self.outcomes(command)) >= count, f"outcome {count}")
        return self.outcomes(command)[-1]

    def committed(self, group: str, topic: Topic) -> dict[int, int]:
        """Return the offsets that a group of the deployment has committed, by partition."""
        reader = self.clients.consumer("applier-test-offsets", f"{self.name}-{group}")
        places = [TopicPartition(topic.name(self.name), partition) for partition in range(2)]
        found = {each.partition: each.offset for each in reader.committed(places, timeout=10)}
        reader.close()
        return found

    def ledger(self, command: RepairCommand) -> list[str]:
        """Return the kinds of the ledger rows that speak of a command."""
        found = self.sql(
            command.target, f"SELECT kind FROM {OWN}.driftline_ledger WHERE original_id = %s", command.command_id.hex()
        )
        return sorted(row[0] for row in found)

    def close(self) -> None:
        """Leave nothing behind."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        for rows in self.rows.values():
            rows.close()
        self._clean()
        self.pg.close()
        self.my.close()
        admin: AdminClient = self.clients.admin("applier-test")
        for answer in admin.delete_topics([topic.name(self.name) for topic in ALL]).values():
            answer.result()


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Yield a deployment whose applier has been told to go on."""
    told = running_stack("kafka", "postgres", "mariadb")
    made = Deployment(tmp_path_factory.mktemp("applier"), told)
    try:
        made.begin()
        yield made
    finally:
        made.close()


def test_it_starts_paused_and_both_ways_repair(deployment: Deployment) -> None:
    """Without a word nothing is written; with it update, insert and refusal come out right, in both directions."""
    commands = {}
    for entity, (authority, replica) in ENTITIES.items():
        deployment.put(authority, entity, 1, "right")
        deployment.put(replica, entity, 1, "wrong")
        deployment.put(authority, entity, 2, "lost 🐟 ")
        deployment.put(replica, entity, 2, None)
        for number in (1, 2):
            commands[entity, number] = deployment.command(entity, number)
            deployment.send(commands[entity, number])
        # Planned on what is gone a moment later.
        deployment.put(authority, entity, 3, "right")
        deployment.put(replica, entity, 3, "wrong")
        commands[entity, 3] = deployment.command(entity, 3)
        deployment.put(replica, entity, 3, "moved")
        deployment.send(commands[entity, 3])
    process = deployment.start()
    time.sleep(3)  # nothing must happen: there is no condition to wait for
    assert all(deployment.outcomes(command) == [] for command in commands.values())
    deployment.run("resume", "--why", "a test")
    for entity, (_, replica) in ENTITIES.items():
        assert deployment.await_outcome(commands[entity, 1]).outcome is Outcome.APPLIED
        assert deployment.await_outcome(commands[entity, 2]).outcome is Outcome.APPLIED
        moved = deployment.await_outcome(commands[entity, 3])
        assert (moved.outcome, moved.reason) == (Outcome.REFUSED, RefusalReason.ROW_MOVED)
        assert deployment.names(replica, entity, 1) == ["right"]
        assert deployment.names(replica, entity, 2) == ["lost 🐟 "]
        assert deployment.names(replica, entity, 3) == ["moved"]
        assert deployment.ledger(commands[entity, 1]) == ["command"]
        assert deployment.ledger(commands[entity, 2]) == ["check", "command"]
        assert deployment.ledger(commands[entity, 3]) == ["refusal"]
        assert deployment.await_outcome(commands[entity, 1]).transaction
    deployment.stop(process)


def test_a_delete_waits_for_a_word(deployment: Deployment) -> None:
    """Held, listed, approved, sent again by the planner, done; the approver stands in the ledger."""
    deployment.run("resume")
    deployment.put("pg", "goods", 11, None)
    deployment.put("my", "goods", 11, "extra")
    command = deployment.command("goods", 11)
    process = deployment.start()
    deployment.send(command)
    held = deployment.await_outcome(command)
    assert (held.outcome, held.reason) == (Outcome.HELD, RefusalReason.NOT_APPROVED)
    (batch,) = json.loads(deployment.run("-o", "json", "batches", code=4))
    assert batch["commands"] == [command.command_id.hex()]
    assert (batch["sample_keys"], batch["rows"]) == (["11"], 1)
    deployment.run("approve", batch["batch"])
    deployment.send(command)
    assert deployment.await_outcome(command, 2).outcome is Outcome.APPLIED
    assert deployment.names("my", "goods", 11) == []
    assert deployment.sql(
        "my", f"SELECT approver FROM {OWN}.driftline_ledger WHERE kind = 'command' AND action = 'delete'"
    ) == [("anna",)]
    assert json.loads(deployment.run("-o", "json", "batches")) == []
    deployment.stop(process)


def test_a_no_stands_in_the_ledger(deployment: Deployment) -> None:
    """What a person rejects is refused for good, under that person's name, and the row stays."""
    deployment.run("resume")
    deployment.put("pg", "goods", 12, None)
    deployment.put("my", "goods", 12, "extra")
    command = deployment.command("goods", 12)
    process = deployment.start()
    deployment.send(command)
    deployment.await_outcome(command)
    deployment.run("reject", "--command", command.command_id.hex(), "--yes")
    deployment.send(command)
    outcome = deployment.await_outcome(command, 2)
    assert (outcome.outcome, outcome.reason) == (Outcome.REFUSED, RefusalReason.REJECTED)
    assert deployment.names("my", "goods", 12) == ["extra"]
    assert deployment.sql(
        "my",
        f"SELECT kind, approver FROM {OWN}.driftline_ledger WHERE command_id = %s",
        command.command_id.hex(),
    ) == [("refusal", "anna")]
    deployment.stop(process)


def test_a_command_without_the_planners_signature_writes_nothing(deployment: Deployment) -> None:
    """On the real topic by a producer without the key: refused, counted as an alarm, and no ledger row."""
    deployment.run("resume")
    deployment.put("pg", "goods", 32, "right")
    deployment.put("my", "goods", 32, "wrong")
    command = deployment.command("goods", 32)
    process = deployment.start()
    deployment.put_on_topic(command)
    outcome = deployment.await_outcome(command)
    assert (outcome.outcome, outcome.reason) == (Outcome.REFUSED, RefusalReason.FORGED)
    assert deployment.names("my", "goods", 32) == ["wrong"]
    assert deployment.ledger(command) == []
    with urlopen(f"http://127.0.0.1:{deployment.settings.applier.http_port}/metrics", timeout=5) as page:
        assert b'driftline_repair_alarms_total{reason="forged"} 1.0' in page.read()
    deployment.send(command)
    assert deployment.await_outcome(command, 2).outcome is Outcome.APPLIED
    deployment.stop(process)


def test_a_panic_stops_it_within_a_second(deployment: Deployment) -> None:
    """By a word on the topic and a file; only an approver's word lifts it."""
    deployment.run("resume")
    process = deployment.start()
    deployment.put("pg", "goods", 21, "right")
    deployment.put("my", "goods", 21, "wrong")
    first = deployment.command("goods", 21)
    deployment.send(first)
    deployment.await_outcome(first)
    deployment.run("panic", "--why", "a test")
    assert deployment.settings.panic_file.exists()
    time.sleep(1)
    deployment.put("my", "goods", 21, "wrong")
    second = deployment.command("goods", 21)
    deployment.send(second)
    time.sleep(2)  # nothing must happen: there is no condition to wait for
    assert deployment.outcomes(second) == []
    deployment.run("resume")
    assert deployment.await_outcome(second).outcome is Outcome.APPLIED
    deployment.stop(process)


@pytest.mark.parametrize("entity", ENTITIES)
def test_a_panic_on_another_host_takes_back_what_is_being_written(deployment: Deployment, entity: str) -> None:
    """By the topic alone: a row that is written is not committed, and an approver's word lets it go."""
    deployment.run("resume")
    authority, replica = ENTITIES[entity]
    deployment.put(authority, entity, 22, "right")
    deployment.put(replica, entity, 22, "wrong")
    command = deployment.command(entity, 22)
    deployment.send(command)
    goes_on = deployment.folder / f"goes-on-{entity}"
    process = deployment.start("row_written", str(goes_on))
    until(lambda: deployment.is_locked(replica, entity, 22), "the row to be written")
    deployment.panic_elsewhere()
    time.sleep(1)
    goes_on.touch()
    until(lambda: not deployment.is_locked(replica, entity, 22), "the transaction to end")
    assert deployment.names(replica, entity, 22) == ["wrong"]
    assert (deployment.ledger(command), deployment.outcomes(command)) == ([], [])
    assert not deployment.settings.panic_file.exists()
    deployment.run("resume")
    assert deployment.await_outcome(command).outcome is Outcome.APPLIED
    assert deployment.names(replica, entity, 22) == ["right"]
    process.kill()


def test_a_forged_record_does_not_stop_the_partition(deployment: Deployment) -> None:
    """Bytes that are no command go to quarantine with their place, and the next command is carried out."""
    deployment.run("resume")
    deployment.put("pg", "goods", 31, "right")
    deployment.put("my", "goods", 31, "wrong")
    command = deployment.command("goods", 31)
    deployment.sink.send(REPAIRS.name(deployment.name), command.partition, b"forged", b"\x00nonsense")
    deployment.send(command)
    process = deployment.start()
    assert deployment.await_outcome(command).outcome is Outcome.APPLIED
    log = TopicLog(deployment.clients, "applier-test-reader")
    quarantined = [deployment.codec.read_quarantine(r.value) for r in log.until_now([QUARANTINE.name(deployment.name)])]
    assert [record.key for record in quarantined] == [b"forged"]
    deployment.stop(process)


def test_records_as_large_as_they_may_be_do_not_end_the_applier(deployment: Deployment) -> None:
    """What it says of them fits a record as well, and the next command is carried out."""
    deployment.run("resume")
    deployment.put("pg", "goods", 33, "right")
    deployment.put("my", "goods", 33, "wrong")
    command = deployment.command("goods", 33)
    topic = REPAIRS.name(deployment.name)
    deployment.sink.send(topic, command.partition, b"large", b"\xff" * 999_950)
    forged = deployment.codec.command(replace(command, command_id=b"c" * 510_000, signature=b"s"))
    deployment.sink.send(topic, command.partition, b"forged", forged)
    deployment.send(command)
    process = deployment.start()
    assert deployment.await_outcome(command).outcome is Outcome.APPLIED
    assert deployment.await_outcome(replace(command, command_id=b"c" * 16)).outcome is Outcome.REFUSED
    log = TopicLog(deployment.clients, "applier-test-reader")
    quarantined = [deployment.codec.read_quarantine(r.value) for r in log.until_now([QUARANTINE.name(deployment.name)])]
    assert (quarantined[-1].key, quarantined[-1].is_cut) == (b"large", True)
    deployment.stop(process)


@pytest.mark.parametrize(
    ("entity", "failpoint"),
    [
        ("goods", "ledger_row_inserted"),
        ("wares", "row_written"),
        ("goods", "committed"),
        ("wares", "check_recorded"),
        ("goods", "outcome_sent"),
        ("wares", "outcome_acknowledged"),
    ],
)
def test_killed_at_a_step_it_is_done_once(deployment: Deployment, entity: str, failpoint: str) -> None:
    """A real process dies at the step; the next one finishes: one ledger row for the command, one for its check."""
    deployment.run("resume")
    authority, replica = ENTITIES[entity]
    number = 100 + deployment.drifts
    deployment.put(authority, entity, number, "right")
    command = deployment.command(entity, number)
    deployment.send(command)
    assert deployment.start(failpoint).wait(PATIENCE_S) == -signal.SIGKILL
    process = deployment.start()
    assert deployment.await_outcome(command).outcome is Outcome.APPLIED
    assert deployment.names(replica, entity, number) == ["right"]
    assert deployment.ledger(command) == ["check", "command"]
    deployment.stop(process)


def test_an_applier_that_slept_while_another_took_its_place_moves_no_offsets_back(deployment: Deployment) -> None:
    """The broker refuses what it commits when it wakes, and it ends; what it had in hand was answered meanwhile."""
    deployment.run("resume")
    deployment.put("pg", "goods", 61, "right")
    deployment.put("my", "goods", 61, "wrong")
    command = deployment.command("goods", 61)
    deployment.send(command)
    asleep = deployment.start("outcome_acknowledged", "SIGSTOP")
    until(lambda: " (stopped)" in Path(f"/proc/{asleep.pid}/status").read_text(), "the applier to fall asleep")
    process = deployment.start()
    deployment.send(command)
    deployment.await_outcome(command, 3)
    deployment.stop(process)
    committed = deployment.committed("applier", REPAIRS)
    asleep.send_signal(signal.SIGCONT)
    assert asleep.wait(PATIENCE_S) == 1
    assert "offsets are not committed" in deployment.log
    assert deployment.committed("applier", REPAIRS) == committed
    assert deployment.ledger(command) == ["command"]


def test_an_applier_that_has_heard_less_moves_no_offsets_of_words_back(deployment: Deployment) -> None:
    """Each reads all words, so none is a member of a group that a broker could ask."""
    slow, fast = (
        WordReader(deployment.clients.consumer(name, f"{deployment.name}-two"), 100, [APPROVALS.name(deployment.name)])
        for name in ("slow", "fast")
    )
    slow.start()
    fast.start()
    for number in range(5):
        deployment.sink.send(APPROVALS.name(deployment.name), number % 2, b"a word", b"of nobody")
    deployment.sink.flush()
    heard: list[int] = []
    ends = KafkaEnds(deployment.clients.admin("ends")).offsets(fast.places, latest=True)
    while fast.lacks(ends):
        fast.take(lambda message, _: heard.append(message.offset()), 0.2)
    fast.were_told(log())
    committed = deployment.committed("two", APPROVALS)
    assert committed == {partition: ends[APPROVALS.name(deployment.name), partition] for partition in range(2)}
    slow.were_told(log())
    assert deployment.committed("two", APPROVALS) == committed
    told: list[bool] = []
    while slow.lacks(ends):
        slow.take(lambda _, is_history: told.append(is_history), 0.2)
    assert told == [True] * len(heard)
    slow.close()
    fast.close()


@pytest.mark.parametrize("entity", ENTITIES)
def test_a_store_that_dies_with_a_command_in_hand_is_waited_for(deployment: Deployment, entity: str) -> None:
    """MariaDB, once as the target and once as the authority: the applier says so, and repairs once when it is back."""
    deployment.run("resume")
    authority, replica = ENTITIES[entity]
    number = 200 + deployment.drifts
    deployment.put(authority, entity, number, "right")
    deployment.put(replica, entity, number, "wrong")
    command = deployment.command(entity, number)
    process = deployment.start()
    deployment.await_ready()
    waits = deployment.log.count("the applier must wait")
    with part_killed("mariadb"):
        deployment.send(command)
        until(
            lambda: deployment.log.count("the applier must wait") > waits + 1, "the applier to say twice that it waits"
        )
        assert deployment.outcomes(command) == []
    deployment.mariadb_is_back()
    assert deployment.await_outcome(command).outcome is Outcome.APPLIED
    assert deployment.names(replica, entity, number) == ["right"]
    assert deployment.ledger(command) == ["command"]
    deployment.stop(process)


@pytest.mark.parametrize("entity", ENTITIES)
def test_what_was_repaired_is_taken_back_value_by_value(deployment: Deployment, entity: str) -> None:
    """Updates, an insert, a delete and a spelling, on both databases: by SQL every column is what it was before."""
    deployment.run("resume")
    authority, replica = ENTITIES[entity]
    first = 300 + 10 * deployment.drifts
    everything = f"SELECT * FROM {SCHEMA}.{entity} WHERE id >= %s AND id < %s ORDER BY id"
    for offset, (right, wrong) in enumerate([("right", "wrong 🐟"), ("right", None), (None, "extra")]):
        deployment.put(authority, entity, first + offset, right)
        deployment.put(replica, entity, first + offset, wrong)
    deployment.put(authority, entity, first + 3, "Right ")
    deployment.put(replica, entity, first + 3, "right")
    before = deployment.sql(replica, everything, first, first + 4)
    commands = [deployment.command(entity, first + offset) for offset in range(3)]
    process = deployment.start()
    for command in commands:
        deployment.send(command)
    deployment.await_outcome(commands[2])
    deployment.run("approve", "--command", commands[2].command_id.hex(), "--yes")
    deployment.send(commands[2])
    for command, count in zip(commands, (1, 1, 2), strict=True):
        assert deployment.await_outcome(command, count).outcome is Outcome.APPLIED
    (asked,) = json.loads(deployment.run("-o", "json", "transform", entity, str(first + 3), "--wait", "30s", "--yes"))
    commands.append(replace(commands[0], command_id=bytes.fromhex(asked["command_id"])))
    assert deployment.await_outcome(commands[3]).outcome is Outcome.APPLIED
    assert deployment.names(replica, entity, first + 3) == ["Right "]
    assert deployment.sql(replica, everything, first, first + 4) != before
    deployment.run("undo", *(command.command_id.hex() for command in commands), "--wait", "30s", "--yes")
    for command in commands:
        undone = replace(command, command_id=undo_id(command.command_id))
        assert deployment.await_outcome(undone).outcome is Outcome.APPLIED
    assert deployment.sql(replica, everything, first, first + 4) == before
    # What was undone waits for a person, and is not done again by itself.
    again = deployment.command(entity, first)
    deployment.send(again)
    assert deployment.await_outcome(again).reason is RefusalReason.UNDONE
    deployment.stop(process)


@pytest.mark.parametrize("entity", ENTITIES)
def test_repairs_of_one_row_are_taken_back_in_turn_though_the_newest_is_held(
    deployment: Deployment, entity: str
) -> None:
    """It is sent again until the flag is down, and then the older one: at once, that one would be refused for good."""
    deployment.run("resume")
    authority, replica = ENTITIES[entity]
    number = 400 + deployment.drifts
    row = f"SELECT * FROM {SCHEMA}.{entity} WHERE id = %s"
    deployment.put(replica, entity, number, "wrong")
    before = deployment.sql(replica, row, number)
    process = deployment.start()
    commands = []
    for name in ("right", "right since"):
        deployment.put(authority, entity, number, name)
        commands.append(deployment.command(entity, number))
        deployment.send(commands[-1])
        assert deployment.await_outcome(commands[-1]).outcome is Outcome.APPLIED
        assert deployment.names(replica, entity, number) == [name]
    older, newer = (replace(command, command_id=undo_id(command.command_id)) for command in commands)
    deployment.sql(replica, f"UPDATE {OWN}.driftline_fence SET token = 1 WHERE scope = 'stop'")
    asking = deployment.started("undo", *(each.command_id.hex() for each in commands), "--wait", "50s", "--yes")
    held = deployment.await_outcome(newer, 2)
    assert (held.outcome, held.reason) == (Outcome.HELD, RefusalReason.STOPPED)
    assert deployment.outcomes(older) == []
    deployment.sql(replica, f"UPDATE {OWN}.driftline_fence SET token = 0 WHERE scope = 'stop'")
    assert asking.wait(PATIENCE_S) == 0
    for undone in (newer, older):
        assert deployment.await_outcome(undone).outcome is Outcome.APPLIED
    assert deployment.sql(replica, row, number) == before
    deployment.stop(process)


def test_the_ledger_of_all_this_is_whole_and_an_altered_row_is_found(deployment: Deployment) -> None:
    """On both databases: what an administrator changes is found; put back, it is whole. On Kafka: what is deleted."""
    heads = str(deployment.folder / "heads.json")
    deployment.run("audit", "--write-heads", heads)
    table = f"{OWN}.driftline_ledger"
    for store in ("pg", "my"):
        quoted = '"partition"' if store == "pg" else "`partition`"
        ((row_id, approver),) = deployment.sql(
            store, f"SELECT command_id, approver FROM {table} ORDER BY {quoted}, sequence LIMIT 1"
        )
        deployment.sql(store, f"UPDATE {table} SET approver = 'nobody' WHERE command_id = %s", row_id)
        found = json.loads(deployment.run("-o", "json", "audit", "--store", store, code=1))
        assert [(each["store"], each["what"], each["sequence"]) for each in found] == [
            (store, "altered", 1),
            (store, "not_signed_for", 1),
        ]
        deployment.sql(store, f"UPDATE {table} SET approver = %s WHERE command_id = %s", approver, row_id)
    deployment.run("audit", "--against", heads)
    admin, topic = deployment.clients.admin("applier-test"), OUTCOMES.name(deployment.name)
    for answer in admin.delete_records([TopicPartition(topic, 0, 1)]).values():
        answer.result(PATIENCE_S)
    found = json.loads(deployment.run("-o", "json", "audit", code=1))
    assert [(each["topic"], each["what"], each["sequence"]) for each in found] == [(topic, "deleted", 1)]


def test_a_flag_in_the_database_stops_its_applier_without_kafka(deployment: Deployment) -> None:
    """Held while the flag is up, by an administrator's own SQL; carried out when it is down."""
    deployment.run("resume")
    deployment.put("pg", "goods", 41, "right")
    deployment.put("my", "goods", 41, "wrong")
    deployment.sql("my", f"UPDATE {OWN}.driftline_fence SET token = 1 WHERE scope = 'stop'")
    command = deployment.command("goods", 41)
    process = deployment.start()
    deployment.send(command)
    outcome = deployment.await_outcome(command)
    assert (outcome.outcome, outcome.reason) == (Outcome.HELD, RefusalReason.STOPPED)
    assert deployment.names("my", "goods", 41) == ["wrong"]
    deployment.sql("my", f"UPDATE {OWN}.driftline_fence SET token = 0 WHERE scope = 'stop'")
    deployment.send(command)
    assert deployment.await_outcome(command, 2).outcome is Outcome.APPLIED
    deployment.stop(process)


def test_a_persons_key_is_changed_without_a_pause_or_an_alarm(deployment: Deployment) -> None:
    """Its successor says `resume`, its line goes, and an applier that starts anew goes on and tells of no old word."""
    deployment.run("resume")
    signers = deployment.folder / "keys" / "signers"
    before = signers.read_text()
    for number in (51, 52):
        deployment.put("pg", "goods", number, "right")
        deployment.put("my", "goods", number, "wrong")
        command = deployment.command("goods", number)
        deployment.send(command)
        process = deployment.start()
        assert deployment.await_outcome(command).outcome is Outcome.APPLIED
        deployment.stop(process)
        if number == 51:
            deployment.run("keys", "make", "approver", "anna", "--replace")
            deployment.run("resume")
            old = [line for line in before.splitlines() if line.startswith("approver anna")]
            kept = [line for line in signers.read_text().splitlines() if line not in old]
            signers.write_text("\n".join(kept) + "\n")
    outcomes = TopicLog(deployment.clients, "applier-test-reader").until_now([OUTCOMES.name(deployment.name)])
    told = [deployment.codec.read_outcome(record.value) for record in outcomes]
    assert [outcome.reason for outcome in told if outcome.detail.startswith("a word of")] == []


def test_init_again_changes_nothing(deployment: Deployment) -> None:
    """Run as often as you like: keys, rows and rights stay; without a word nothing is run."""
    keys = {path.name: path.read_bytes() for path in (deployment.folder / "keys").iterdir()}
    deployment.run("init", "--yes")
    assert {path.name: path.read_bytes() for path in (deployment.folder / "keys").iterdir()} == keys
    printed = deployment.run("init", code=4)
    assert "CREATE TABLE" in printed
    assert all(value.decode("latin-1") not in printed for value in keys.values())
    for kind in (StoreKind.POSTGRES, StoreKind.MARIADB):
        store = "pg" if kind is StoreKind.POSTGRES else "my"
        assert deployment.sql(store, f"SELECT store_id FROM {OWN}.driftline_beacon") == [(store,)]
