"""`pause --shard`, `resume --shard` and `status`: a shard's quarantine as people see it and end it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from app.adapters.signing import SIGNERS, read_signers, verify
from app.cli.main import run
from app.codec.control import decode_control, encode_control
from app.codec.rereads import encode_done
from app.core.conducting import Done
from app.core.finding import DriftKind
from app.core.status import Coverage, StatusReport
from app.core.switch import Control, Said
from app.core.trust import SignerRole, distrust
from app.topics import CONTROL, REREADS, STATUS
from tests.unit.cli.desk import Desk
from tests.unit.cli.reading_world import CODEC, NOW_MS

SHARD = "orders/my/0"


def switched(desk: Desk) -> list[Control]:
    """Return the words on the topic of control that were acknowledged."""
    sent = [r for r in desk.sink.sent[: desk.sink.flushed] if r.topic == CONTROL.name("shop")]
    return [decode_control(record.value) for record in sent]


@pytest.fixture
def quarantined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Return a deployment where a shard was quarantined a minute ago."""
    desk = Desk(tmp_path, monkeypatch)
    monkeypatch.setattr("app.cli.deployment.Deployment.log", desk.log, raising=False)
    assert run(["pause", "--shard", SHARD, "--by", "ada", "--why", "looks odd"]) == 0
    (word,) = switched(desk)
    assert (word.said, word.by, word.shard) == (Said.PAUSE, "ada", SHARD)
    desk.put(CONTROL, encode_control(replace(word, at_ms=NOW_MS - 60_000)))
    return desk


def revalidate(desk: Desk, **changes: object) -> None:
    """Let both tables be read whole since, and a worker say how the shard is."""
    for store in ("pg", "my"):
        done = Done("orders", store, 3, whole_begun_wall_ms=NOW_MS - 50_000, whole_wall_ms=NOW_MS - 40_000)
        desk.put(REREADS, encode_done(done, lambda _, plain: plain))
    report = StatusReport("orders", "my", False, 0, Coverage.COVERED, 9, 9, 9, NOW_MS - 1_000)
    desk.put(STATUS, CODEC.status(replace(report, **changes)))  # type: ignore[arg-type]  # by name


def test_a_quarantine_is_lifted_by_an_approver_once_the_shard_was_revalidated(
    quarantined: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused with all that is missing before; the word is signed, names the shard, and lifts nothing else."""
    assert run(["resume", "--shard", SHARD]) == 2
    told = capsys.readouterr().err
    assert "not_read_again (pg), not_read_again (my), not_reported (my)" in told
    revalidate(quarantined, open_drifts={DriftKind.STALE: 2})
    assert run(["resume", "--shard", SHARD]) == 2
    assert "not revalidated: drifts_open (my)" in capsys.readouterr().err
    revalidate(quarantined)
    assert len(switched(quarantined)) == 1
    (quarantined.keys / "panic").touch()
    assert run(["resume", "--shard", SHARD]) == 0
    word = switched(quarantined)[-1]
    assert (word.said, word.by, word.shard, word.lifts_through) == (Said.RESUME, "anna", SHARD, 0)
    signers = read_signers(quarantined.keys / SIGNERS)
    assert distrust(signers, verify, SignerRole.APPROVER, "shop", word, NOW_MS) is None
    assert (quarantined.keys / "panic").exists()


def test_a_quarantine_that_cannot_be_revalidated_is_lifted_with_a_reason_that_stays(
    quarantined: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not without one; and what was missing stands beside it for ever."""
    assert run(["resume", "--shard", SHARD, "--unproven"]) == 2
    assert run(["resume", "--shard", SHARD, "--unproven", "--why", "keys that nobody can slice"]) == 0
    why = switched(quarantined)[-1].why
    assert why.startswith("not revalidated, not_read_again (pg)")
    assert why.endswith(": keys that nobody can slice")
    assert "repairs go on in orders/my/0" in capsys.readouterr().err


@pytest.mark.parametrize("shard", ["orders/my/7", "orders", "orders/my/x", "orders/my/0 "])
def test_a_shard_that_is_not_quarantined_is_not_lifted(quarantined: Desk, shard: str) -> None:
    """Nor one that is none; nothing is said."""
    assert run(["resume", "--shard", shard]) == 2
    assert len(switched(quarantined)) == 1


def test_status_shows_what_a_quarantined_shard_lacks(quarantined: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """And when nothing does, that it waits for an approver; what stops one shard pauses nothing else."""
    told = []
    for prepare in (lambda _: None, revalidate):
        prepare(quarantined)
        run(["status"])
        told.append(next(line for line in capsys.readouterr().out.splitlines() if line.startswith("shard")))
    assert told[0].startswith("shard orders/my/0: quarantined, lacks not_read_again (pg), not_read_again (my)")
    assert told[1].startswith("shard orders/my/0: revalidated, waits for an approver (by ada since ")
    assert told[1].endswith(": looks odd)")
    run(["-o", "json", "status"])
    shown = json.loads(capsys.readouterr().out)
    assert [(row["shard"], row["missing"]) for row in shown["quarantined"]] == [(SHARD, [])]
    assert shown["applier"]["by"] == ""
