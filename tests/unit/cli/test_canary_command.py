"""`driftline canary` as people and programs see it: metrics, exit codes, and what --count prints."""

from __future__ import annotations

import json

import pytest
from structlog.testing import capture_logs

from app.cli.canary import _exit_code, _rows, _Told
from app.cli.exit_codes import ExitCode
from app.cli.output import Output, print_records
from app.core.canary import Ended, Ending, FalseAlarm, Judged, News, Result, ToldLate
from app.core.canary_proof import Doubt
from app.core.canary_tally import Tally
from app.core.finding import DriftKind, UnknownReason
from app.observe import LOG_FIELDS

STALE, EXTRA = DriftKind.STALE, DriftKind.EXTRA
DETECTED = Judged("my", STALE, Result.DETECTED, None, 750, b"\x01")
RESOLVED = Ended("my", STALE, Ending.RESOLVED, None, b"\x01")


@pytest.mark.parametrize(
    ("news", "line"),
    [
        (DETECTED, 'driftline_canary_plantings_total{kind="stale",outcome="detected",store="my"} 1.0'),
        (DETECTED, 'driftline_canary_detection_latency_seconds_bucket{le="1.0",store="my"} 1.0'),
        (DETECTED, 'driftline_canary_detection_latency_seconds_bucket{le="0.5",store="my"} 0.0'),
        (
            Judged("my", EXTRA, Result.MISSED),
            'driftline_canary_plantings_total{kind="extra",outcome="missed",store="my"} 1.0',
        ),
        (
            Judged("my", EXTRA, Result.INCONCLUSIVE, UnknownReason.LAG),
            'driftline_canary_inconclusive_total{reason="lag"} 1.0',
        ),
        (
            Ended("my", EXTRA, Ending.INCONCLUSIVE, Doubt.UNWRITTEN),
            'driftline_canary_inconclusive_total{reason="unwritten"} 1.0',
        ),
        (RESOLVED, 'driftline_canary_endings_total{outcome="resolved",store="my"} 1.0'),
        (
            FalseAlarm("my", DriftKind.CAPTURE_GAP, b""),
            'driftline_canary_false_alarms_total{kind="capture_gap",store="my"} 1.0',
        ),
        (
            ToldLate("my", EXTRA, b""),
            'driftline_canary_plantings_total{kind="extra",outcome="detected",store="my"} 0.0',
        ),
    ],
)
def test_what_came_of_a_planting_is_counted(news: News, line: str) -> None:
    """Each under its own name; what never happened stands there as zero."""
    told = _Told(["pg", "my"], None)
    assert (
        'driftline_canary_plantings_total{kind="stale",outcome="missed",store="my"} 0.0' in told.metrics.page().decode()
    )
    told.told(news)
    assert line in told.metrics.page().decode()


def test_a_line_of_the_log_says_what_came_of_a_planting_and_names_no_row() -> None:
    """Fields as declared; what was missed is an error, what proved nothing is not."""
    with capture_logs() as lines:
        told = _Told(["pg", "my"], None)
        told.told(DETECTED)
        told.told(Judged("my", EXTRA, Result.INCONCLUSIVE, Doubt.SILENT))
        told.told(Judged("my", EXTRA, Result.MISSED))
    detected, inconclusive, missed = lines
    assert (detected["decision"], detected["elapsed_ms"], detected["drift_id"]) == ("detected", 750, b"\x01")
    assert (inconclusive["log_level"], inconclusive["reason"], missed["log_level"]) == ("info", "silent", "error")
    assert all(set(line) - {"log_level"} <= set(LOG_FIELDS) for line in lines)


def test_so_many_plantings_are_enough_once_they_are_over() -> None:
    """One that was told is over when it was told to be over."""
    told = _Told(["pg", "my"], 2)
    told.told(DETECTED)
    told.told(Judged("my", EXTRA, Result.MISSED))
    assert not told.stopping.is_set()
    told.told(RESOLVED)
    assert told.stopping.is_set()


@pytest.mark.parametrize(
    ("news", "code"),
    [
        ([DETECTED, RESOLVED], ExitCode.AGREE),
        ([DETECTED, RESOLVED, Judged("my", EXTRA, Result.MISSED)], ExitCode.DRIFT),
        ([DETECTED, Ended("my", STALE, Ending.INCONCLUSIVE, Doubt.SILENT)], ExitCode.UNKNOWN),
        (
            [Judged("my", EXTRA, Result.INCONCLUSIVE, Doubt.SILENT), FalseAlarm("my", EXTRA, b"")],
            ExitCode.DRIFT,
        ),
    ],
)
def test_the_exit_code_says_the_worst(news: list[News], code: ExitCode, capsys: pytest.CaptureFixture[str]) -> None:
    """And what is printed has every count."""
    tally = Tally()
    for each in news:
        tally.take(each)
    assert _exit_code(tally) is code
    print_records(_rows(tally), Output.JSON, ())
    rows = json.loads(capsys.readouterr().out)
    results = [result.value for result in Result]
    assert sum(row[result] for row in rows for result in results) == sum(isinstance(each, Judged) for each in news)
