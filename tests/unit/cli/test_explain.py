"""`explain`: one key's changes in both stores, what was said and done about it, and why, without a row's value."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.adapters.seal import KeySeals, make_key
from app.cli.main import run
from app.codec.contract_file import load_contracts
from app.core.command import Action, Approval, CommandOutcome, Outcome, RepairCommand
from app.core.contract import EntityContract
from app.core.digest import Dialect, RowDigester, keyed_hash
from app.core.finding import Stage
from app.topics import APPROVALS, DRIFTS, OUTCOMES, REPAIRS
from tests.unit.cli.reading_world import CODEC, NOW_MS, World, stale

CONTRACT = """\
entity: orders
version: 1
authority: {store: pg, table: public.orders}
replicas:
  - {store: my, table: shop.orders, window_ms: 10000}
key:
  id: {type: int64}
fields:
  status: {type: string}
  note: {type: string, large: true}
"""
SECRET = "a value that nobody prints"


class OrderWorld(World):
    """A deployment with a contract, keys, and two CDC topics."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, monkeypatch)
        (folder / "contracts").mkdir()
        (folder / "contracts" / "orders.yaml").write_text(CONTRACT)
        (folder / "placeholder").write_text("left out")
        (folder / "keys").mkdir()
        for name in ("digest.key", "seal.key", "ledger.key"):
            make_key(folder / "keys" / name)
        self.contract: EntityContract = load_contracts(folder / "contracts", self.settings)[0]
        self.digest_key = (folder / "keys" / "digest.key").read_bytes()
        self.seals = KeySeals.from_folder(folder / "keys")
        self.note = "a note"
        self.log.topics |= {"pg.public.orders": [], "my.shop.orders": []}

    def key(self, row_id: int) -> bytes:
        """Return a row's canonical key."""
        digester = RowDigester(self.contract, "pg", Dialect.POSTGRES_CDC, self.digest_key)
        return digester.canonical_key({"id": row_id})

    def in_postgres(self, row_id: int, status: object, at_wall_ms: int, operation: str = "u") -> None:
        """Capture a change of PostgreSQL."""
        source: dict[str, object] = {
            "connector": "postgresql",
            "schema": "public",
            "table": "orders",
            "snapshot": "false",
            "txId": 70 + at_wall_ms % 1_000,
            "lsn": 5_000 + at_wall_ms % 1_000,
            "sequence": json.dumps([str(4_000 + at_wall_ms % 1_000), str(5_000 + at_wall_ms % 1_000)]),
            "ts_ms": at_wall_ms,
        }
        self._capture("pg.public.orders", row_id, status, operation, source, at_wall_ms)

    def in_mariadb(self, row_id: int, status: object, at_wall_ms: int, operation: str = "u") -> None:
        """Capture a change of MariaDB."""
        source: dict[str, object] = {
            "connector": "mariadb",
            "db": "shop",
            "table": "orders",
            "snapshot": "false",
            "gtid": f"0-1-{at_wall_ms % 1_000}",
            "file": "bin.000001",
            "pos": 4_000 + at_wall_ms % 1_000,
            "row": 0,
            "ts_ms": at_wall_ms,
        }
        self._capture("my.shop.orders", row_id, status, operation, source, at_wall_ms)

    def _capture(
        self, topic: str, row_id: int, status: object, operation: str, source: dict[str, Any], at_wall_ms: int
    ) -> None:
        row = {"id": row_id, "status": status, "note": self.note}
        before, after = (row, None) if operation == "d" else (None, row)
        envelope = {"before": before, "after": after, "source": source, "op": operation, "ts_ms": at_wall_ms}
        value = json.dumps(envelope).encode()
        self.log.put(topic, value, key=json.dumps({"id": row_id}).encode(), at_wall_ms=at_wall_ms)

    def tell(self, stage: Stage, row_id: int, at_wall_ms: int) -> None:
        """Put a finding on a row onto the topic of drifts."""
        key = self.key(row_id)
        hashed = keyed_hash(self.digest_key, self.contract.number, key)
        sealed = self.seals.seal_key("orders", key)
        published = replace(stale(stage, command_id=b"c" * 16), sealed_key=sealed, key_hash=hashed)
        self.put(DRIFTS, CODEC.finding(published), at_wall_ms)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OrderWorld:
    """Return a deployment with orders."""
    return OrderWorld(tmp_path, monkeypatch)


def explained(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and what was told to a program."""
    code = run(["-o", "json", "explain", *arguments])
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, told


def test_a_key_that_agrees_shows_both_histories(world: OrderWorld, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest states have one digest, whatever log they came by; other keys are left out."""
    world.in_postgres(7, SECRET, NOW_MS + 1, "c")
    world.in_postgres(8, "other", NOW_MS + 2, "c")
    world.in_mariadb(7, SECRET, NOW_MS + 3, "c")
    code, told = explained(capsys, "orders", "7")
    assert code == 0
    assert [(c["store"], c["operation"]) for c in told["changes"]] == [("pg", "create"), ("my", "create")]
    assert told["changes"][0]["digest"] == told["changes"][1]["digest"]
    assert told["why"] == ["my: agree. Its newest change leads to the same state as the newest of pg."]


def test_a_difference_without_a_finding_is_not_proven(world: OrderWorld, capsys: pytest.CaptureFixture[str]) -> None:
    """The window may still run: exit code 3."""
    world.in_postgres(7, "new", NOW_MS + 1)
    world.in_mariadb(7, "old", NOW_MS + 2)
    code, told = explained(capsys, "orders", "7")
    assert code == 3
    assert "there is no finding" in told["why"][0]


def test_a_store_without_any_change_of_the_key_proves_nothing(
    world: OrderWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its row may be older than the topic."""
    world.in_postgres(7, "new", NOW_MS + 1)
    code, told = explained(capsys, "orders", "7")
    assert code == 3
    assert "no change of this key in my" in told["why"][0]


@pytest.mark.parametrize("value", [b"\xff garbage", b"{}", b'{"op": "u"}'])
def test_a_change_that_cannot_be_read_is_shown_and_nothing_is_proven(
    world: OrderWorld, capsys: pytest.CaptureFixture[str], value: bytes
) -> None:
    """Both stores showed one state before it: what the row is now nobody can say."""
    world.in_postgres(7, "new", NOW_MS + 1)
    world.in_mariadb(7, "new", NOW_MS + 2)
    world.log.put("pg.public.orders", value, key=b'{"id": 7}', at_wall_ms=NOW_MS + 3)
    world.log.put("pg.public.orders", value, key=b'{"id": 8}', at_wall_ms=NOW_MS + 4)
    world.log.put("pg.public.orders", value, key=b"no key", at_wall_ms=NOW_MS + 5)
    code, told = explained(capsys, "orders", "7")
    assert code == 3
    assert [(c["operation"], c["digest"]) for c in told["changes"]][2:] == [("unreadable", "unknown")]
    assert "The newest change in pg does not tell the row" in told["why"][0]


def test_two_rows_that_do_not_fit_are_no_equals(world: OrderWorld, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is known of either."""
    world.in_postgres(7, ["a list"], NOW_MS + 1)
    world.in_mariadb(7, ["a list"], NOW_MS + 2)
    code, told = explained(capsys, "orders", "7")
    assert code == 3
    assert "The newest change in pg and in my does not tell the row" in told["why"][0]


def test_a_value_that_the_log_left_out_is_not_guessed(world: OrderWorld, capsys: pytest.CaptureFixture[str]) -> None:
    """What it was before may be older than the topic: neither that they agree is said nor that they differ."""
    world.note = "left out"
    world.in_postgres(7, "new", NOW_MS + 1)
    world.note = "a note"
    world.in_mariadb(7, "new", NOW_MS + 2)
    code, told = explained(capsys, "orders", "7")
    assert code == 3
    assert "The newest change in pg does not tell the row" in told["why"][0]


def test_a_row_that_is_read_again_is_known_again(world: OrderWorld, capsys: pytest.CaptureFixture[str]) -> None:
    """A later change tells all of it."""
    world.log.put("pg.public.orders", b"garbage", key=b'{"id": 7}', at_wall_ms=NOW_MS)
    world.in_postgres(7, "new", NOW_MS + 1)
    world.in_mariadb(7, "new", NOW_MS + 2)
    code, _ = explained(capsys, "orders", "7")
    assert code == 0


def test_a_key_deleted_on_both_sides_agrees(world: OrderWorld, capsys: pytest.CaptureFixture[str]) -> None:
    """Absence is a state like any other; the tombstone behind a delete is no change."""
    world.in_postgres(7, "old", NOW_MS + 1, "d")
    world.log.put("pg.public.orders", None, key=b'{"id": 7}', at_wall_ms=NOW_MS + 1)
    world.in_mariadb(7, "old", NOW_MS + 2, "d")
    code, told = explained(capsys, "orders", "7")
    assert code == 0
    assert [c["digest"] for c in told["changes"]] == ["absent", "absent"]


def test_an_open_drift_says_why_and_names_what_was_done(world: OrderWorld, capsys: pytest.CaptureFixture[str]) -> None:
    """Window, deadline, how far both logs were known, the states, the fields; command, word, outcome."""
    world.in_postgres(7, "new", NOW_MS + 1)
    world.tell(Stage.CONFIRMED, 7, NOW_MS + 2)
    world.tell(Stage.OVERTAKEN, 7, NOW_MS + 3)
    hashed = keyed_hash(world.digest_key, world.contract.number, world.key(7))
    command = RepairCommand(
        command_id=b"c" * 16,
        finding_id=b"f" * 16,
        incident_id=b"",
        entity="orders",
        contract_version=1,
        authority="pg",
        target="my",
        action=Action.UPSERT,
        kind="stale",
        sealed_key=b"",
        key_hash=hashed,
        partition=0,
        expected_digest=b"",
        intended_digest=b"",
        authority_position=b"",
        needs_approval=True,
        reason="overtaken",
        expires_at_ms=0,
        fence_token=0,
        trace_id=b"",
    )
    world.put(REPAIRS, CODEC.command(command), NOW_MS + 4)
    word = Approval(b"b" * 32, (b"c" * 16 + b"d" * 32,), approved=True, said_at_ms=1, expires_at_ms=2)
    world.put(APPROVALS, CODEC.approval(word), NOW_MS + 5)
    done = CommandOutcome(b"c" * 16, b"f" * 16, "orders", "my", Outcome.APPLIED, None, 1, "0-1-9", 0, b"", "")
    world.put(OUTCOMES, CODEC.outcome(done), NOW_MS + 6)
    code, told = explained(capsys, "orders", "7")
    assert code == 1
    assert [act["what"] for act in told["acts"]] == ["command upsert", "approved", "applied"]
    assert told["why"] == [
        "my: stale, now overtaken.",
        "  pg was last in a state that my shows at 10003 ms (beacon time).",
        "  The window of 10000 ms ran out at 20003 ms; both logs were known up to 30000 ms.",
        "  my showed 6f6f6f6f6f6f (my.shop.orders[0]@1); pg had 6e6e6e6e6e6e (pg.public.orders[0]@2).",
        "  They differ in amount.",
    ]
    assert run(["explain", "orders", "7"]) == 1
    shown = capsys.readouterr().out
    whats = ("update", "drift confirmed", "drift overtaken", "command upsert", "approved", "applied")
    places = [shown.index(what) for what in whats]
    assert places == sorted(places)


def test_a_finding_names_its_row_to_those_who_hold_the_keys(
    world: OrderWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the first digits of its id; and `drifts --keys` shows the key."""
    world.in_postgres(7, "new", NOW_MS + 1)
    world.tell(Stage.CONFIRMED, 7, NOW_MS + 2)
    _, told = explained(capsys, "orders", "--finding", "6666")
    assert len(told["changes"]) == 1
    assert run(["-o", "jsonl", "drifts", "--keys"]) == 1
    assert json.loads(capsys.readouterr().out)["key"] == "7"


def test_no_value_of_a_row_is_printed(world: OrderWorld, capsys: pytest.CaptureFixture[str]) -> None:
    """Digests, places, positions, and that is all."""
    world.in_postgres(7, SECRET, NOW_MS + 1)
    for output in ("table", "json"):
        run(["-o", output, "explain", "orders", "7"])
    out, err = capsys.readouterr()
    assert SECRET not in out + err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("nothing", "7"), "there are: orders"),
        (("orders", "seven"), "as the authority's SQL shows it"),
        (("orders", '{"other": 7}'), '{"id": "..."}'),
        (("orders", "--finding", "abcdef"), "`driftline drifts` lists findings"),
        (("orders",), "by its KEY, or by --finding"),
        (("orders", "7", "--finding", "abcdef"), "by its KEY, or by --finding"),
    ],
)
def test_what_cannot_be_found_says_what_to_do(
    world: OrderWorld, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], hint: str
) -> None:
    """Exit code 2, the hint on stderr."""
    assert world.settings.deployment == "shop"
    assert run(["explain", *arguments]) == 2
    assert hint in capsys.readouterr().err
