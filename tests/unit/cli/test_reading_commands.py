"""Commands that read: what they print and what their exit code says, against topics in memory."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from app.cli.main import run
from app.codec.control import encode_control
from app.codec.rereads import encode_done
from app.core.conducting import Done
from app.core.finding import DriftKind, Stage, UnknownReason
from app.core.status import Coverage, StatusReport
from app.core.switch import Control, Said
from app.topics import CONTROL, DRIFTS, REREADS, STATUS
from tests.unit.cli.reading_world import CODEC, NOW_MS, World, stale
from tests.unit.cli.test_explain import CONTRACT

REPORT = StatusReport(
    entity="orders",
    store="my",
    is_authority=False,
    partition=0,
    coverage=Coverage.COVERED,
    watermark_ms=100_000,
    verified_through_ms=99_500,
    newest_beacon_ms=100_200,
    reported_at_wall_ms=NOW_MS - 2_000,
    instance="worker-1",
)
AUTHORITY = replace(REPORT, store="pg", is_authority=True, verified_through_ms=None)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a deployment in memory."""
    return World(tmp_path, monkeypatch)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what went to stdout, without blanks at the ends of lines."""
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def report(world: World, *reports: StatusReport) -> None:
    """Put reports onto the topic of statuses."""
    for each in reports:
        world.put(STATUS, CODEC.status(each))


def test_status_shows_stores_and_says_that_all_agrees(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The picture of a healthy deployment, to the letter."""
    report(world, AUTHORITY, REPORT)
    assert run(["status"]) == 0
    *table, worker, repairs = lines(capsys)
    assert [re.split(" {2,}", line) for line in table] == [
        [
            "entity",
            "store",
            "role",
            "coverage",
            "verified through ms",
            "behind ms",
            "open drifts",
            "unknown keys",
            "waiting keys",
            "reported ago s",
        ],
        ["orders", "pg", "authority", "covered", "-", "-", "-", "-", "0", "2.0"],
        ["orders", "my", "replica", "covered", "99500", "700", "-", "-", "0", "2.0"],
    ]
    assert worker == "worker worker-1: partitions 0 (2.0 s ago)"
    assert repairs == "repairs: paused (nobody has said `driftline resume` yet)"


def test_status_tells_how_far_tables_were_read_again(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """With what its sample bounds, and nothing of where in the keys it stands."""
    report(world, AUTHORITY, REPORT)
    done = Done("orders", "my", 2, ("secret key",), b"", 50, 1, 0, 1, 0, 3_000_000, 1_000, 2, NOW_MS)
    world.put(REREADS, encode_done(done, lambda _, plain: plain[::-1]))
    run(["status"])
    told = next(line for line in lines(capsys) if line.startswith("reread"))
    assert told == (
        "reread orders in my: whole at 2026-11-23T19:00:00.000Z (1000 rows, 2 slices unproven); this pass 50 rows,"
        " 0 slices unproven; 1 capture gaps; by its sample at most 1.581 keys per million were wrong unseen (95 %)"
    )
    run(["-o", "json", "status"])
    shown = capsys.readouterr().out
    [row] = json.loads(shown)["rereads"]
    assert (row["passes"], row["gaps"], row["wrong_per_million_at_most"]) == (2, 1, 1.581)
    assert "secret" not in shown


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        (REPORT, 0),
        (replace(REPORT, open_drifts={DriftKind.STALE: 1}), 1),
        (replace(REPORT, open_drifts={DriftKind.STALE: 1}, unknown_keys={UnknownReason.HOT: 1}), 1),
        (replace(REPORT, unknown_keys={UnknownReason.SCHEMA: 1}), 3),
        (replace(REPORT, coverage=Coverage.SNAPSHOT), 3),
        (replace(REPORT, verified_through_ms=None), 3),
        (replace(REPORT, reported_at_wall_ms=NOW_MS - 60_000), 3),
    ],
)
def test_status_exit_code_is_drift_before_unknown_before_agreement(
    world: World, changed: StatusReport, code: int
) -> None:
    """What is not proven is never green, an old report included."""
    report(world, AUTHORITY, changed)
    assert run(["status"]) == code


def test_the_last_word_on_an_entity_whose_contract_was_taken_away_is_not_waited_for(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The canary's, switched off; a worker that still judges by it is heard, and one that is dead is missed."""
    folder = world.settings.contracts_dir
    folder.mkdir()
    (folder / "orders.yaml").write_text(CONTRACT)
    gone = replace(REPORT, entity="driftline_canary", reported_at_wall_ms=NOW_MS - 60_000)
    report(world, AUTHORITY, REPORT, gone)
    assert run(["status"]) == 0
    assert "canary" not in capsys.readouterr().out
    report(world, replace(gone, coverage=Coverage.UNCOVERED, reported_at_wall_ms=NOW_MS))
    assert run(["status"]) == 3
    report(world, gone, replace(REPORT, reported_at_wall_ms=NOW_MS - 60_000))
    assert run(["status"]) == 3


def test_status_without_any_report_is_unknown_and_says_what_to_start(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Silence is not agreement."""
    assert world.settings.deployment == "shop"
    assert run(["status"]) == 3
    assert "driftline worker" in capsys.readouterr().err


def test_status_for_programs_has_stores_and_the_applier(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The last word of a person stands."""
    report(world, AUTHORITY, REPORT)
    for said in (Said.PAUSE, Said.RESUME):
        world.put(CONTROL, encode_control(Control(said, "ada", NOW_MS, "after lunch", lifts_through=0)))
    assert run(["-o", "json", "status"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["applier"] == {"paused": False, "by": "ada", "at": "2026-11-23T19:00:00.000Z", "why": "after lunch"}
    assert [store["proven"] for store in told["stores"]] == [True, True]


def test_drifts_show_the_newest_step_of_each_and_tell_of_open_ones(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line per drift, exit code 1 while one is open."""
    world.put(DRIFTS, CODEC.finding(stale()))
    world.put(DRIFTS, CODEC.finding(stale(Stage.OVERTAKEN)), NOW_MS + 500)
    assert run(["drifts"]) == 1
    assert lines(capsys) == [
        "at                        entity  replica  kind   stage      columns  rows  key hash      finding id",
        (
            "2026-11-23T19:00:00.500Z  orders  my       stale  overtaken  amount         686868686868"
            "  66666666666666666666666666666666"
        ),
    ]


def test_drifts_that_are_over_are_no_drift(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, and `--open` leaves them out."""
    world.put(DRIFTS, CODEC.finding(stale()))
    world.put(DRIFTS, CODEC.finding(stale(Stage.RESOLVED)))
    assert run(["drifts", "--history"]) == 0
    assert len(lines(capsys)) == 3
    assert run(["-o", "jsonl", "drifts", "--open"]) == 0
    assert lines(capsys) == []


def test_drifts_since_a_moment(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """A time ago, or a time."""
    world.put(DRIFTS, CODEC.finding(stale()), NOW_MS - 3_600_000)
    assert run(["-o", "jsonl", "drifts", "--since", "10m"]) == 0
    assert run(["-o", "jsonl", "drifts", "--since", "2026-11-23T17:59:00Z"]) == 1
    assert len(lines(capsys)) == 1
    assert run(["drifts", "--since", "yesterday"]) == 2


def test_a_program_gets_all_that_was_judged(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Positions, offsets, histories, watermarks, window."""
    world.put(DRIFTS, CODEC.finding(stale()))
    run(["-o", "json", "drifts"])
    (told,) = json.loads(capsys.readouterr().out)
    assert told["evidence"]["window_ms"] == 10_000
    assert [stay["offset"] for stay in told["evidence"]["authority_stays"]] == [1, 2]
    assert told["deployment"] == "shop"
    assert told["columns"] == ["amount"]


def test_following_prints_each_as_it_comes_and_ends_with_130(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Until a person stops it."""
    world.put(DRIFTS, CODEC.finding(stale()))
    world.put(DRIFTS, b"no record of ours")
    world.put(DRIFTS, CODEC.finding(stale(Stage.VERIFIED)))
    assert run(["-o", "jsonl", "drifts", "--follow"]) == 130
    out, err = capsys.readouterr()
    assert [json.loads(line)["stage"] for line in out.splitlines()] == ["confirmed", "verified"]
    assert "shop.drifts.v1[0]@1 is left out" in err


def test_a_forged_name_does_not_reach_the_terminal(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Escapes in a record's text are shown, not obeyed."""
    world.put(DRIFTS, CODEC.finding(stale(entity="orders\x1b[2J", differing_columns=("a\nb",))))
    for output in ("table", "json", "jsonl"):
        run(["-o", output, "drifts"])
    assert "\x1b" not in capsys.readouterr().out


def test_replay_says_that_all_came_out_the_same(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0 and the count."""
    world.put(DRIFTS, CODEC.finding(stale()))
    world.put(DRIFTS, CODEC.finding(stale(Stage.OVERTAKEN)))
    assert run(["replay"]) == 0
    assert lines(capsys) == ["2 records judged again: 2 same, 0 different, 0 not judged"]


def test_replay_names_each_that_did_not(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """A verdict from nowhere, and a record that cannot be read: exit code 1."""
    forged = stale()
    evidence = replace(forged.finding.evidence, judged_at_ms=15_003, window_ms=5_000, replica_watermark_ms=15_000)
    world.put(DRIFTS, CODEC.finding(replace(forged, finding=replace(forged.finding, evidence=evidence))))
    world.put(DRIFTS, b"\0\0\0\0\1")
    assert run(["-o", "json", "replay"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["counts"] == {"same": 0, "different": 2, "not_judged": 0}
    assert {wrong["place"]: wrong["why"] for wrong in told["different"]} == {
        "0@0": "the verdict comes out as wait",
        "0@1": "it cannot be read: schema id 1 does not read as finding (EOFError)",
    }


def test_replay_between_two_moments(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Only what was said between them, and no life is blamed for beginning earlier."""
    world.put(DRIFTS, CODEC.finding(stale()), NOW_MS - 7_200_000)
    world.put(DRIFTS, CODEC.finding(stale(Stage.OVERTAKEN)), NOW_MS - 3_000_000)
    world.put(DRIFTS, CODEC.finding(stale(Stage.VERIFIED)), NOW_MS)
    assert run(["replay", "--from", "1h", "--to", "10m"]) == 0
    assert lines(capsys) == ["1 records judged again: 1 same, 0 different, 0 not judged"]


def test_replay_from_topics_takes_no_beginning(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """A fold begins with the first observation."""
    assert world.settings.deployment == "shop"
    assert run(["replay", "--topics", "--from", "1h"]) == 2
    assert "leave --from out" in capsys.readouterr().err


def test_a_missing_topic_says_what_to_run(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, with where and what to do on stderr, and nothing on stdout."""
    del world.log.topics[STATUS.name("shop")]
    assert run(["status"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "driftline: there is no topic shop.status.v1\n  hint: `driftline init` makes the topics\n"


def test_an_incidents_own_record_is_no_open_drift(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """It counts rows that have records of their own, and it never changes."""
    world.put(DRIFTS, CODEC.finding(stale(incident_rows=40, finding_id=b"i" * 16)))
    world.put(DRIFTS, CODEC.finding(stale(Stage.VERIFIED, incident_id=b"i" * 16)))
    assert run(["-o", "jsonl", "drifts"]) == 0
    assert [json.loads(line)["incident_rows"] for line in lines(capsys)] == [40, 0]
