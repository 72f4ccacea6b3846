"""`transform`: which rows are to be aligned, and that each goes out signed by the person, and by two where two must."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.adapters.memory_rows import MemoryRows, plain_digest
from app.adapters.seal import make_key
from app.adapters.signing import SIGNERS, read_signers, verify
from app.cli.main import run
from app.core.canonical_key import key_writer
from app.core.command import Action, RefusalReason, RepairCommand
from app.core.contract import FieldKind, FieldType
from app.core.digest import partition_of
from app.core.trust import SignerRole, distrust
from app.topics import REPAIRS
from tests.unit.cli.answering import APPLIED, Answer, Answering, held, refused
from tests.unit.cli.desk import Desk
from tests.unit.cli.reading_world import CODEC, NOW_MS

CONTRACT = """\
entity: orders
version: 1
authority: {{store: pg, table: public.orders}}
replicas:
  - store: my
    table: shop.orders
    window_ms: 10000
    repair: {{mode: propose, persons: {persons}, transform: {transform}}}
key:
  id: {{type: int64}}
fields:
  status: {{type: string, collation: ci}}
  note: {{type: string, normalise: [trim]}}
"""


def meaning(values: Mapping[str, object]) -> bytes:
    """Digest values as the contract holds them equal."""
    return plain_digest({name: str(value).strip().lower() for name, value in values.items()})


class SpellingDesk(Desk):
    """A deployment whose stores hold four orders: aligned, to align, a drift, and one that is not there."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, monkeypatch)
        make_key(self.keys / "digest.key")
        self.let(1, "[status, note]")
        self.stores = {name: MemoryRows(("status", "note"), digest=meaning) for name in ("pg", "my")}
        for number, (authority, target) in enumerate((("Paid", "Paid"), ("Paid", "paid"), ("Paid", "sent")), start=1):
            self.put_order("pg", number, authority, "a ")
            self.put_order("my", number, target, "a ")
        monkeypatch.setattr("app.cli.applier.row_stores", lambda *_, **__: self.stores)

    def let(self, persons: int, transform: str) -> None:
        """Let the contract say what may be aligned, and by how many persons."""
        (self.contracts / "orders.yaml").write_text(CONTRACT.format(persons=persons, transform=transform))

    def put_order(self, store: str, number: int, status: str, note: str) -> None:
        """Write an order in one store."""
        key = key_writer(FieldType(FieldKind.INT64))(number)
        self.stores[store].put("orders", key, {"status": status, "note": note})

    def sent(self) -> list[RepairCommand]:
        """Return the commands that were sent and acknowledged."""
        records = [r for r in self.sink.sent[: self.sink.flushed] if r.topic == REPAIRS.name("shop")]
        return [CODEC.read_command(record.value) for record in records]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SpellingDesk:
    """Return such a deployment, at which anna sits."""
    return SpellingDesk(tmp_path, monkeypatch)


@pytest.fixture(autouse=True)
def answering(desk: SpellingDesk, monkeypatch: pytest.MonkeyPatch) -> Answering:
    """Return the applier that answers; everything is applied."""
    return Answering(desk, monkeypatch)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Return the exit code and what a program is told."""
    capsys.readouterr()
    code = run(["-o", "json", "transform", *arguments])
    shown: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return code, shown


def test_rows_are_told_apart_before_anything_is_sent(desk: SpellingDesk, capsys: pytest.CaptureFixture[str]) -> None:
    """By key: no value stands in it. Without a word nothing is sent."""
    code, shown = told(capsys, "orders", "1", "2", "3", "4", "2")
    assert [(row["key"], row["stands"], row["columns"]) for row in shown] == [
        ("1", "alike", []),
        ("2", "to align", ["status"]),
        ("3", "differs", []),
        ("4", "absent", []),
    ]
    assert code == 4
    assert desk.sent() == []


def test_an_asking_is_a_signed_command_on_the_rows_own_partition(
    desk: SpellingDesk, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names both spellings by their digests; exit code 1 where a row that was named differs by the contract."""
    code, shown = told(capsys, "orders", "2", "3", "--yes", "--for", "10m")
    (command,) = desk.sent()
    assert (code, shown[0]["command_id"]) == (1, command.command_id.hex())
    assert distrust(read_signers(desk.keys / SIGNERS), verify, SignerRole.APPROVER, "shop", command, NOW_MS) is None
    assert (command.action, command.target, command.columns) == (Action.TRANSFORM, "my", ("status",))
    spelling = desk.stores["my"].spelling
    assert command.expected_digest == spelling("orders", {"status": "paid", "note": "a "})
    assert command.intended_digest == spelling("orders", {"status": "Paid", "note": "a "})
    assert command.partition == partition_of(command.key_hash, desk.settings.partitions)
    assert command.expires_at_ms == NOW_MS + 600_000
    assert told(capsys, "orders", "2", "--yes")[0] == 0


def test_columns_and_keys_are_chosen(
    desk: SpellingDesk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what the contract lets; keys also come one a line."""
    desk.put_order("my", 2, "paid", " a")
    monkeypatch.setattr("sys.stdin", io.StringIO("2\n1\n"))
    code, shown = told(capsys, "orders", "--keys", "-", "--column", "note", "--yes")
    assert (code, [(row["key"], row["columns"]) for row in shown]) == (0, [("2", ["note"]), ("1", [])])
    desk.let(1, "[status]")
    assert told(capsys, "orders", "2")[1][0]["columns"] == ["status"]


@pytest.mark.parametrize(
    ("transform", "arguments", "what"),
    [
        ("[]", ["orders", "2"], "the contract lets nothing be aligned"),
        ("[status]", ["orders", "2", "--column", "note"], "the contract does not let this be aligned"),
        ("[status]", ["orders", "2", "--store", "pg"], "the contract does not let this be aligned"),
        ("[status]", ["orders"], "no row was named"),
        ("[status]", ["orders", *map(str, range(2_001))], "too many rows at once"),
        ("[status]", ["customers", "2"], "no contract is about"),
        ("[id]", ["orders", "2"], '"id" is no field of this contract'),
    ],
)
def test_what_may_not_be_asked_for_is_said_so(
    desk: SpellingDesk, capsys: pytest.CaptureFixture[str], transform: str, arguments: list[str], what: str
) -> None:
    """Exit code 2, and nothing is sent."""
    desk.let(1, transform)
    assert run(["transform", *arguments, "--yes"]) == 2
    assert what in capsys.readouterr().err
    assert desk.sent() == []


@pytest.mark.parametrize(
    ("reason", "code"), [(RefusalReason.MEANING_DIFFERS, 4), (RefusalReason.OUTSIDE_HOURS, 3), (None, 1)]
)
def test_what_became_of_it_comes_before_a_drift_that_was_left_out(
    desk: SpellingDesk,
    capsys: pytest.CaptureFixture[str],
    answering: Answering,
    reason: RefusalReason | None,
    code: int,
) -> None:
    """Exit code 4 where one was refused, else 3 where it is not known, else 1 for the row that differs."""
    desk.put_order("my", 1, "paid", "a")
    (first,) = (row["command_id"] for row in told(capsys, "orders", "1")[1])
    answer = refused if code == 4 else held

    def by(command: RepairCommand) -> Answer:
        return answer(reason) if reason and command.command_id.hex() == first else APPLIED

    answering.by = by
    assert told(capsys, "orders", "1", "2", "3", "--yes")[0] == code
    assert len({command.command_id for command in desk.sent()}) == 2


def test_a_second_person_says_yes_by_batch(
    desk: SpellingDesk, capsys: pytest.CaptureFixture[str], answering: Answering
) -> None:
    """It waits like any proposal, with the first person named; what was asked for is sent again behind the word."""
    desk.let(2, "[status]")
    answering.by = lambda _: held(RefusalReason.SECOND_PERSON)
    assert told(capsys, "orders", "2", "--yes")[0] == 3
    (command,) = desk.sent()
    desk.put(REPAIRS, CODEC.command(command))
    capsys.readouterr()
    assert run(["-o", "json", "batches"]) == 4
    (batch,) = json.loads(capsys.readouterr().out)
    assert (batch["action"], batch["approved_by"], batch["persons_needed"]) == ("transform", ["anna"], 2)
    desk.sit_down("bert")
    assert run(["approve", batch["batch"]]) == 0
    (word,) = desk.said()
    assert desk.sent() == [command, command]
    desk.hear(word)
    assert run(["batches"]) == 0
