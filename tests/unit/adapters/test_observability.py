"""Metrics, logs and health: what is declared is what is there, and nothing that comes in can forge it."""

from __future__ import annotations

import io
import json
import logging
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from app import observe
from app.adapters.health import Checks, Health, HealthServer
from app.adapters.logs import configure_logs, error_fields, log
from app.adapters.metrics import Metrics
from app.codec.wire import Reason
from app.core.errors import ContractViolation, Unready
from app.observe import ALL_METRICS, LOG_FIELDS, Label, MetricType

SERIES_MAX = 2_000
"""For 50 entities; what a Prometheus should be asked to keep."""


def page_of(metrics: Metrics) -> str:
    """Return the page as text."""
    return metrics.page().decode()


def test_the_page_has_the_declared_metrics_and_no_others() -> None:
    """Name, type and meaning as in `app.observe`."""
    families = {f.name: f for f in text_string_to_metric_families(page_of(Metrics()))}
    declared = {m.name.removesuffix("_total"): m for m in ALL_METRICS}
    assert set(families) == set(declared)
    for name, metric in declared.items():
        assert families[name].type == metric.type.value
        assert families[name].documentation == metric.meaning


def test_every_declared_metric_is_listed() -> None:
    """One that is left out of the list would be missing on the page."""
    assert {id(v) for v in vars(observe).values() if isinstance(v, observe.Metric)} == {id(m) for m in ALL_METRICS}


def test_every_declared_metric_is_set_somewhere() -> None:
    """One that nothing sets stays at zero and says that all is well."""
    app = Path(observe.__file__).parent
    source = "\n".join(path.read_text() for path in app.rglob("*.py"))
    names = [name for name, value in vars(observe).items() if isinstance(value, observe.Metric)]
    assert [name for name in names if f"observe.{name}" not in source] == ["BUILD_INFO"]  # set where metrics are made


@pytest.mark.parametrize("metric", ALL_METRICS, ids=lambda m: m.name)
def test_names_follow_prometheus(metric: observe.Metric) -> None:
    """Prefix, base unit, `_total` on counters and on nothing else, no label's name in the metric's."""
    assert metric.name.startswith("driftline_")
    assert metric.name.endswith("_total") is (metric.type is MetricType.COUNTER)
    assert "_ms" not in metric.name
    if metric.type is MetricType.HISTOGRAM:
        assert metric.name.endswith("_seconds")
        assert list(metric.buckets) == sorted(metric.buckets)
        assert metric.buckets
    assert metric.meaning.endswith(".")


def test_labels_are_closed_lists_or_configured_names() -> None:
    """Never a key, an id, an offset, a user or an error's text."""
    for metric in ALL_METRICS:
        for label in metric.labels:
            if label not in {Label.ENTITY, Label.STORE, Label.VERSION, Label.REVISION}:
                assert metric.closed_values(label), f"{metric.name}: {label.value} has no closed list"


def test_every_reason_for_quarantine_is_a_declared_value() -> None:
    """Or counting one would fail."""
    for metric in (observe.EVENTS_REJECTED, observe.EVENTS_QUARANTINED):
        assert {reason.value for reason in Reason} <= set(metric.closed_values(Label.REASON) or ())


def test_fifty_entities_stay_below_the_budget() -> None:
    """All counters that can exist, for 50 entities in 3 stores, and their gauges and histograms."""
    metrics = Metrics()
    metrics.expect([f"entity{n}" for n in range(50)], ["pg", "my", "mongo"])
    series = sum(len(f.samples) for f in text_string_to_metric_families(page_of(metrics)))
    assert 200 < series < SERIES_MAX


def test_series_that_are_known_to_exist_begin_with_zero() -> None:
    """A rate over the first refusal is not a gap."""
    metrics = Metrics()
    metrics.expect(["orders"], ["pg"])
    assert 'driftline_repair_refusals_total{reason="row_moved"} 0.0' in page_of(metrics)
    assert 'driftline_events_consumed_total{entity="orders",store="pg"} 0.0' in page_of(metrics)


@pytest.mark.parametrize(
    "labels", [{"store": "pg"}, {"store": "pg", "reason": "no such"}, {"store": "pg", "reason": "no_key", "key": "7"}]
)
def test_an_undeclared_label_or_value_is_a_mistake(labels: dict[str, str]) -> None:
    """It is raised where it is made."""
    with pytest.raises(ValueError, match=r"driftline_events_rejected_total"):
        Metrics().add(observe.EVENTS_REJECTED, 1, **labels)


def test_a_label_of_names_cannot_run_away() -> None:
    """Whoever puts ids into `entity` is stopped."""
    metrics = Metrics()
    for n in range(500):
        metrics.set(observe.VERIFIED_THROUGH, 1.0, entity=f"id-{n}")
    with pytest.raises(ValueError, match="too many values"):
        metrics.set(observe.VERIFIED_THROUGH, 1.0, entity="one more")


def test_a_wrong_use_of_a_metric_is_a_mistake() -> None:
    """A gauge does not count."""
    with pytest.raises(TypeError):
        Metrics().add(observe.APPLIER_PAUSED)
    with pytest.raises(TypeError):
        Metrics().set(observe.BEACONS_WRITTEN, 1.0, store="pg")
    with pytest.raises(TypeError):
        Metrics().observe(observe.APPLIER_PAUSED, 1.0)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Yield where the logs go."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logs("worker", "1.2.3", "worker-1", to=stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def told(stream: io.StringIO) -> list[dict[str, object]]:
    """Return the lines as objects; a line that is no object fails."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_who_and_when_in_utc(lines: io.StringIO) -> None:
    """Service, version, instance, level and time on every line."""
    log(trace_id="ab" * 16).info("drift confirmed", entity="orders", store="my", drift_id=b"\x01\x02")
    (line,) = told(lines)
    assert str(line.pop("ts")).endswith("Z")
    assert line == {
        "level": "info",
        "event": "drift confirmed",
        "service": "worker",
        "version": "1.2.3",
        "instance": "worker-1",
        "trace_id": "ab" * 16,
        "entity": "orders",
        "store": "my",
        "drift_id": "0102",
    }


def test_every_field_of_a_line_is_declared(lines: io.StringIO) -> None:
    """What is not declared is dropped and named: a row value cannot get in by a careless keyword."""
    log().info("read", entity="orders", row={"email": "ada@example.org"}, email="ada@example.org")
    (line,) = told(lines)
    assert set(line) <= set(LOG_FIELDS)
    assert line["dropped_fields"] == "email,row"
    assert "ada@example.org" not in lines.getvalue()


def test_nothing_that_is_logged_can_begin_a_line_of_its_own(lines: io.StringIO) -> None:
    """Line breaks, escapes of terminals, and breaks that only Unicode knows stay inside their field."""
    evil = 'x\n{"level":"info","event":"forged"}\r\x1b[2J\u2028\u2029\x85\x00'
    log().warning("event " + evil, what=evil, where=evil)
    assert len(lines.getvalue().splitlines()) == 1
    assert lines.getvalue().isascii()
    assert "\x1b" not in lines.getvalue()
    assert told(lines)[0]["what"] == evil


def test_a_field_is_bounded(lines: io.StringIO) -> None:
    """An error that quotes a megabyte does not fill the disk."""
    log().warning("failed", what="x" * 1_000_000)
    assert len(lines.getvalue()) < 2_000


def test_libraries_speak_in_the_same_lines(lines: io.StringIO) -> None:
    """Faust's and the drivers' own logs come out as ours, with the logger's name."""
    logging.getLogger("aiokafka.consumer").warning("group %s is rebalancing", "x\ny")
    (line,) = told(lines)
    assert (line["logger"], line["event"], line["level"]) == (
        "aiokafka.consumer",
        "group x\ny is rebalancing",
        "warning",
    )


def test_an_exception_is_named_with_its_place_and_no_traceback(lines: io.StringIO) -> None:
    """Class, text and place; locals of a frame are nobody's business."""
    try:
        {}["gone"]  # type: ignore[index]  # the fault is the point
    except KeyError:
        log().error("failed", exc_info=True)
    (line,) = told(lines)
    assert line["error_type"] == "KeyError"
    assert "test_observability.py" in str(line["where"])
    assert "Traceback" not in lines.getvalue()


def test_an_error_of_ours_fills_its_fields() -> None:
    """Where, what and what to do."""
    fields = error_fields(Unready("no answer", where="store pg", hint="is it up?"))
    assert fields == {"error_type": "Unready", "what": "no answer", "where": "store pg", "hint": "is it up?"}


class Asked:
    """A process with health that a test switches."""

    def __init__(self) -> None:
        self.ready: Checks = {"partitions assigned": True, "store pg": False}

    def health(self) -> Health:
        """Return what the server asks."""
        return Health(live=lambda: {"turning": True}, ready=lambda: self.ready, metrics_page=lambda: b"metrics\n")


@pytest.fixture
def server() -> Iterator[tuple[Asked, HealthServer]]:
    """Yield a server on a free port."""
    asked = Asked()
    serving = HealthServer("127.0.0.1", 0, asked.health())
    yield asked, serving
    serving.close()


def get(server: HealthServer, path: str) -> tuple[int, str]:
    """Return status and body."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_live_depends_on_nothing_and_ready_on_its_checks(server: tuple[Asked, HealthServer]) -> None:
    """A store that is down makes it not ready, and no restart is asked for."""
    asked, serving = server
    assert get(serving, "/livez") == (200, "ok\n")
    assert get(serving, "/readyz") == (503, "not ok\n")
    asked.ready = {"store pg": True}
    assert get(serving, "/readyz") == (200, "ok\n")


def test_verbose_lists_the_checks_for_people(server: tuple[Asked, HealthServer]) -> None:
    """Machines read the status code."""
    assert get(server[1], "/readyz?verbose") == (503, "[+] partitions assigned\n[-] store pg\nnot ok\n")


def test_metrics_are_there_and_nothing_else(server: tuple[Asked, HealthServer]) -> None:
    """There is no other page, and no other method."""
    assert get(server[1], "/metrics") == (200, "metrics\n")
    assert get(server[1], "/../../etc/passwd")[0] == 404
    request = urllib.request.Request(f"http://127.0.0.1:{server[1].port}/livez", data=b"x", method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=5)  # noqa: S310 - our own server
    refused.value.close()
    assert refused.value.code == 501


def test_a_port_that_is_taken_says_which_and_what_to_do(server: tuple[Asked, HealthServer]) -> None:
    """Two processes on one machine."""
    with pytest.raises(ContractViolation, match="another http_port"):
        HealthServer("127.0.0.1", server[1].port, server[0].health())
