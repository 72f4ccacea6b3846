"""`driftline canary`: plant drifts in a table of Driftline's own, and measure whether they are told."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import click

from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.output import print_records
from app.core.canary import ENTITY, Deed, Ended, Ending, FalseAlarm, Judged, News, Result, Terms
from app.core.canary_proof import Doubt, Why
from app.core.canary_tally import Tally
from app.core.errors import ContractViolation, DriftlineError, Undecodable

if TYPE_CHECKING:
    from app.canary.run import CanaryProcess
    from app.settings import Settings

_COLUMNS: Final = (
    "store",
    "kind",
    *(result.value for result in Result),
    *(f"mended_{ending.value}" for ending in Ending),
    "false_alarms",
    "latency_ms_max",
)


class _Told:
    """Tells logs and metrics, and remembers what health asks for and what was counted."""

    def __init__(self, stores: Sequence[str], enough: int | None) -> None:
        from app.adapters.logs import log
        from app.adapters.metrics import Metrics

        self._log = log()
        self.metrics = Metrics()
        self.metrics.expect([ENTITY], stores)
        self.tally = Tally()
        self.stopping = threading.Event()
        self._enough = enough
        self.are_stores_reached = False
        self.doubt: Why | None = Doubt.SILENT

    def told(self, news: News) -> None:
        from app import observe

        self.tally.take(news)
        store, kind = news.store, news.kind.value
        match news:
            case Judged(result=result, why=why, latency_ms=latency_ms):
                self.metrics.add(observe.CANARY_PLANTINGS, store=store, kind=kind, outcome=result.value)
                if latency_ms is not None:
                    self.metrics.observe(observe.CANARY_LATENCY, latency_ms / 1_000, store=store)
                self._prove_nothing(why)
                say = self._log.info if result in {Result.DETECTED, Result.INCONCLUSIVE} else self._log.error
                say("planted drift was judged", **_fields(news, result.value, why), elapsed_ms=latency_ms)
            case Ended(ending=ending, why=why):
                self.metrics.add(observe.CANARY_ENDINGS, store=store, outcome=ending.value)
                self._prove_nothing(why)
                say = self._log.error if ending is Ending.UNRESOLVED else self._log.info
                say("planted drift was mended", **_fields(news, ending.value, why))
            case FalseAlarm():
                self.metrics.add(observe.CANARY_FALSE_ALARMS, store=store, kind=kind)
                self._log.error("a drift was told that was not planted", **_fields(news))
            case _:
                self._log.warning("a planted drift was told after it had been given up", **_fields(news))
        if self._enough is not None and self.tally.plantings >= self._enough:
            self.stopping.set()

    def _prove_nothing(self, why: Why | None) -> None:
        from app import observe

        if why is not None:
            self.metrics.add(observe.CANARY_INCONCLUSIVE, reason=why.value)

    def doubt_changed(self, doubt: Why | None) -> None:
        self.doubt = doubt
        if doubt is None:
            self._log.info("the canary's table is proven", entity=ENTITY)
        else:
            self._log.warning("nothing is planted: the canary's table is not proven", entity=ENTITY, reason=doubt.value)

    def stores_written(self, deed: Deed) -> None:
        self.are_stores_reached = True
        self._log.debug("the canary's table was written", entity=ENTITY, decision=deed.value)

    def store_is_down(self, fault: DriftlineError) -> None:
        from app.adapters.logs import error_fields

        self.are_stores_reached = False
        self._log.warning("the canary's table cannot be written", **error_fields(fault))

    def unreadable(self, topic: str, fault: Undecodable) -> None:
        from app.adapters.logs import error_fields

        self._log.warning("record cannot be read", topic=topic, **error_fields(fault))


def _fields(news: News, decision: str = "", why: Why | None = None) -> dict[str, str | bytes]:
    fields: dict[str, str | bytes] = {"entity": ENTITY, "store": news.store, "kind": news.kind.value}
    if decision:
        fields["decision"] = decision
    if why is not None:
        fields["reason"] = why.value
    if news.finding_id:
        fields["drift_id"] = news.finding_id
    return fields


def _process(settings: Settings, told: _Told) -> CanaryProcess:
    from app.adapters.canary_rows import SqlCanaryRows
    from app.adapters.registry import schema_book
    from app.adapters.seal import KeySeals
    from app.adapters.system_clock import monotonic_ms
    from app.canary.run import CanaryProcess, word_of
    from app.codec.contract_file import load_contracts
    from app.codec.records import RecordCodec
    from app.codec.told_topics import ToldTopics
    from app.core.canary import Canary
    from app.core.canary_proof import Proof

    asked = settings.canary
    if asked is None:
        raise ContractViolation(
            "the settings want no canary",
            hint='add "canary: {authority: ...}" and a role canary in each store, then run `driftline init`',
        )
    stores = [store.name for store in settings.canary_stores]
    windows_ms = dict.fromkeys(stores[1:], asked.window_ms)
    contract = next(c for c in load_contracts(settings.contracts_dir, settings) if c.entity == ENTITY)
    codec = RecordCodec(settings.deployment, schema_book(settings.registry_url, settings.deployment))
    seals = KeySeals.from_folder(settings.keys_dir)
    return CanaryProcess(
        canary=Canary(Terms(stores, windows_ms, asked.interval_s * 1_000, asked.patience_s * 1_000)),
        proof=Proof(stores, settings.partitions),
        rows={store.name: SqlCanaryRows(store) for store in settings.canary_stores},
        told_topics=ToldTopics.of(settings.deployment, codec),
        read_word=lambda published: word_of(published, contract, seals.open_key),
        monotonic_ms=monotonic_ms,
        tell=told,
        stopping=told.stopping,
    )


def _rows(tally: Tally) -> Iterator[dict[str, object]]:
    for (store, kind), count in tally.counts.items():
        yield {
            "store": store,
            "kind": kind.value,
            **{result.value: times for result, times in count.results.items()},
            **{f"mended_{ending.value}": times for ending, times in count.endings.items()},
            "false_alarms": count.false_alarms,
            "latency_ms_max": count.latency_ms_max,
        }


def _exit_code(tally: Tally) -> ExitCode:
    if tally.is_wrong:
        return ExitCode.DRIFT
    return ExitCode.UNKNOWN if tally.is_inconclusive else ExitCode.AGREE


@click.command()
@click.option("--count", type=click.IntRange(min=1), help="End after so many plantings, and print what came of them.")
@click.option("--instance", default="canary-1", show_default=True, help="Names this process in logs.")
@click.option("--http-port", type=click.IntRange(0, 65535), help="Serve metrics and health here.")
@click.option("--http-host", default="127.0.0.1", show_default=True)
@click.pass_obj
def command(invocation: Invocation, count: int | None, instance: str, http_port: int | None, http_host: str) -> int:
    """Plant drifts of every kind in a table of Driftline's own, one after another, and mend them. Run one.

    Whether each is told in time, and what is told besides, are metrics. With --count the exit code is 1 if a drift was
    missed or misnamed, was not told to be over, or was told and not planted; else 3 if one proved nothing.
    """
    from app.adapters.health import Health, HealthServer
    from app.adapters.kafka import KafkaClients
    from app.adapters.logs import configure_logs, must_wait
    from app.adapters.system_clock import wall_ms
    from app.adapters.topic_log import TopicLog

    settings = invocation.settings()
    configure_logs("canary", version("driftline"), instance)
    told = _Told([store.name for store in settings.canary_stores], count)
    process = _process(settings, told)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.stopping.set())
    server = None
    if http_port is not None:
        health = Health(
            live=lambda: {"turning": True},
            ready=lambda: {"stores": told.are_stores_reached, "proven": told.doubt is None},
            metrics_page=told.metrics.page,
        )
        server = HealthServer(http_host, http_port, health)
    log = TopicLog(KafkaClients.of(settings), f"driftline-{instance}")
    topics = process.told_topics.topics
    try:
        if log.wait_for(topics, told.stopping, must_wait("canary")):
            process.run(log.on_and_on(topics, wall_ms()))
    finally:
        if server is not None:
            server.close()
    if count is None:
        return ExitCode.AGREE
    print_records(_rows(told.tally), invocation.output, _COLUMNS)
    return _exit_code(told.tally)
