"""Status and explain of aggregates, and drift that a contract tolerates: told all the same, and no alarm."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from app.cli.main import run
from app.codec.aggregates import encode_aggregate
from app.codec.rereads import encode_done
from app.core.aggregate_status import AggregateReason, AggregateStatus
from app.core.conducting import Done
from app.core.finding import DriftKind, Stage, Verdict
from app.topics import AGGREGATES, DRIFTS, REREADS
from tests.unit.cli.reading_world import CODEC, NOW_MS, stale
from tests.unit.cli.test_explain import CONTRACT, OrderWorld
from tests.unit.cli.test_reading_commands import AUTHORITY, REPORT, report

AGGREGATE = AggregateStatus("orders", "my", "per_status", Verdict.AGREE, None, 3, 0, 99_000, 1_200, NOW_MS - 1_000)
MORE = "aggregates:\n  per_status: {count: true, by: [status]}\n"
HOUR_MS = 3_600_000


class AlarmWorld(OrderWorld):
    """A deployment whose contract says more."""

    def declare(self, more: str) -> None:
        """Write the contract with more lines."""
        (self.settings.contracts_dir / "orders.yaml").write_text(CONTRACT + more)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AlarmWorld:
    """Return a deployment in memory, with three drifts open."""
    made = AlarmWorld(tmp_path, monkeypatch)
    report(made, AUTHORITY, replace(REPORT, open_drifts={DriftKind.STALE: 2, DriftKind.MISSING: 1}))
    return made


@pytest.mark.parametrize(("bound", "code"), [("open_rows: 3", 0), ("open_rows: 2", 1)])
def test_open_drifts_raise_an_alarm_only_beyond_their_bound(
    world: AlarmWorld, capsys: pytest.CaptureFixture[str], bound: str, code: int
) -> None:
    """The drifts stand in the table either way, and it is said that they are tolerated."""
    world.declare(f"tolerate: {{{bound}}}\n")
    assert run(["status"]) == code
    told = capsys.readouterr().out
    assert "stale 2, missing 1" in told
    assert ("tolerated by its contract" in told) is (code == 0)
    run(["-o", "json", "status"])
    assert [row["alarm"] for row in json.loads(capsys.readouterr().out)["stores"]] == [
        None,
        None if code == 0 else "open_rows",
    ]


def test_drifts_of_the_last_hour_are_counted_once_each(world: AlarmWorld) -> None:
    """Neither a drift's later steps, nor incidents, nor what is older."""
    world.declare("tolerate: {opened_per_hour: 1}\n")
    for finding_id, stage, rows, ago_ms in (
        (b"a" * 16, Stage.CONFIRMED, 0, 10),
        (b"a" * 16, Stage.CONFIRMED, 0, 9),
        (b"a" * 16, Stage.OVERTAKEN, 0, 8),
        (b"b" * 16, Stage.CONFIRMED, 2, 10),
        (b"c" * 16, Stage.CONFIRMED, 0, HOUR_MS + 1),
    ):
        world.put(DRIFTS, CODEC.finding(stale(stage, finding_id=finding_id, incident_rows=rows)), NOW_MS - ago_ms)
    assert run(["status"]) == 0
    world.put(DRIFTS, CODEC.finding(stale(finding_id=b"d" * 16)), NOW_MS - 1)
    assert run(["status"]) == 1


@pytest.mark.parametrize(("rows", "code"), [(3_000_000, 0), (2_999_999, 1), (0, 1)])
def test_a_share_is_of_the_rows_that_the_conductor_has_read_and_of_none_before(
    world: AlarmWorld, rows: int, code: int
) -> None:
    """Where it has never read the whole table, nobody knows the share."""
    world.declare("tolerate: {open_per_million: 1}\n")
    if rows:
        done = Done("orders", "pg", 1, (), b"", 0, 0, 0, 0, NOW_MS, 0, rows, 0, NOW_MS)
        world.put(REREADS, encode_done(done, lambda _, plain: plain))
    assert run(["status"]) == code


def test_without_its_contracts_nothing_is_tolerated(world: AlarmWorld) -> None:
    """A word that cannot be read does not quieten an alarm."""
    world.declare("tolerate: {open_rows: 9}\nnonsense")
    assert run(["status"]) == 1


@pytest.mark.parametrize(
    ("changed", "code", "told"),
    [
        (AGGREGATE, 0, "aggregate orders.per_status in my: agree, 3 groups"),
        (replace(AGGREGATE, verdict=Verdict.DRIFT, open_drifts=2), 1, "drift, 3 groups, 2 wrong"),
        (replace(AGGREGATE, verdict=Verdict.UNKNOWN, reason=AggregateReason.TOO_MANY), 3, "unknown (too_many)"),
        (replace(AGGREGATE, reported_at_wall_ms=NOW_MS - 60_000), 3, "unknown, 3 groups"),
    ],
)
def test_aggregates_stand_in_the_status_and_in_its_exit_code(
    world: AlarmWorld, capsys: pytest.CaptureFixture[str], changed: AggregateStatus, code: int, told: str
) -> None:
    """Drift before unknown before agreement; what nobody reports any more is not known."""
    world.declare(MORE + "tolerate: {open_rows: 9}\n")
    world.put(AGGREGATES, encode_aggregate(changed))
    assert run(["status"]) == code
    assert told in capsys.readouterr().out


def test_an_aggregate_that_no_contract_declares_any_more_is_not_told(
    world: AlarmWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    """The topic keeps its last word; it must not stay red for ever."""
    world.declare("tolerate: {open_rows: 9}\n")
    world.put(AGGREGATES, encode_aggregate(replace(AGGREGATE, verdict=Verdict.DRIFT, open_drifts=1)))
    assert run(["status"]) == 0
    assert "aggregate" not in capsys.readouterr().out


def _told(world: AlarmWorld, stage: Stage, status: str, finding_id: bytes) -> None:
    figures = {"aggregate": "per_status", "group": {"status": status}, "lowest": "4", "highest": "5", "shown": "7"}
    found = stale(
        stage, finding_id=finding_id, kind=DriftKind.AGGREGATE, checker="aggregate/1", differing_columns=("per_status",)
    )
    sealed = world.seals.seal_key("orders", json.dumps(figures).encode())
    world.put(DRIFTS, CODEC.finding(replace(found, sealed_key=sealed)))


def test_explain_tells_which_groups_are_wrong_and_what_their_figures_had_to_be(
    world: AlarmWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    """A group that is right again is in the list and not in the sentences."""
    world.declare(MORE)
    _told(world, Stage.CONFIRMED, "paid", b"a" * 16)
    _told(world, Stage.CONFIRMED, "open", b"b" * 16)
    _told(world, Stage.RESOLVED, "open", b"b" * 16)
    assert run(["-o", "json", "explain", "orders", "--aggregate", "per_status"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [(f["group"], f["stage"]) for f in told["findings"]] == [
        ("per_status of status=paid", "confirmed"),
        ("per_status of status=open", "confirmed"),
        ("per_status of status=open", "resolved"),
    ]
    [why] = told["why"]
    assert "per_status of status=paid showed 7" in why
    assert "between 4 and 5" in why
    run(["drifts", "--keys"])
    assert "per_status of status=paid" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--aggregate", "per_state"), "there are: per_status"),
        (("--finding", "6161"), "driftline explain orders --aggregate per_status"),
        (("7", "--aggregate", "per_status"), "or an --aggregate"),
    ],
)
def test_what_is_asked_of_the_wrong_thing_says_what_to_ask(
    world: AlarmWorld, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], hint: str
) -> None:
    """Exit code 2, the hint on stderr."""
    world.declare(MORE)
    _told(world, Stage.CONFIRMED, "paid", b"a" * 16)
    assert run(["explain", "orders", *arguments]) == 2
    assert hint in capsys.readouterr().err


def test_replay_does_not_judge_an_aggregate_from_what_it_cites(world: AlarmWorld) -> None:
    """Its figures rest on all rows of the group."""
    world.declare(MORE)
    _told(world, Stage.CONFIRMED, "paid", b"a" * 16)
    assert run(["replay"]) == 0
