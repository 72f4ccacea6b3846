"""One seeded world: stores, streams, a worker, and the judge at its end."""

from __future__ import annotations

from functools import partial
from typing import Final

from app.core.contract import (
    EntityContract,
    Field,
    FieldKind,
    FieldType,
    KeyField,
    RepairMode,
    RepairPolicy,
    Replica,
    StoreTable,
)
from app.core.contract import Pipeline as FillingPipeline
from app.core.observation import PipelineReached
from app.simulation.application import Application
from app.simulation.beacons import BEGIN_MS, Beacons
from app.simulation.connector import NEVER_MS, Connector
from app.simulation.damages import Damages
from app.simulation.diary import Diary
from app.simulation.faults import Fault
from app.simulation.ingest import Ingest
from app.simulation.pipeline import Pipeline
from app.simulation.repairs import Repairs
from app.simulation.rereads import Rereads
from app.simulation.schedule import Schedule
from app.simulation.setting import START_MS, Setting
from app.simulation.stores import ENTITY, NUMBER, VALUE, Store
from app.simulation.verdicts import Judge, Score
from app.simulation.worker import Worker

_POLICY: Final = RepairPolicy(mode=RepairMode.APPLY, deletes=True, deletes_wait=False, mass_rows=10**6)
_LOOK_MS: Final = 1_000
_CALM_STEPS: Final = 400
_CALM_MS: Final = 5_000
"""How long before its end nothing goes wrong with workers any more: time is earned again by beacons."""


def contract_of(setting: Setting) -> EntityContract:
    """Return the contract that a world is judged by."""
    names = setting.store_names
    int64 = FieldType(FieldKind.INT64)
    columns = dict.fromkeys(names, VALUE)
    pipeline = FillingPipeline("pipeline", ENTITY) if setting.pipelines_report else None
    large = (Field("large", int64, columns, large=True),) if setting.has(Fault.VALUES_LEFT_OUT) else ()
    return EntityContract(
        entity=ENTITY,
        version=1,
        number=NUMBER,
        key=(KeyField("id", int64, dict.fromkeys(names, "id")),),
        fields=(Field(VALUE, int64, columns), *large),
        authority=names[0],
        stores=tuple(
            StoreTable(name, ENTITY, f"{name}.{ENTITY}", setting.cdc_partitions, name not in setting.streams_alone)
            for name in names
        ),
        replicas=tuple(
            Replica(name, setting.window_ms, setting.quiet_for_ms, pipeline, repair=_POLICY) for name in names[1:]
        ),
    )


class World:
    """A world that runs once."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.diary = Diary()
        self.schedule = Schedule()
        self.stores = [Store(name, n, setting, self.schedule, self.diary) for n, name in enumerate(setting.store_names)]
        self.beacons = Beacons(setting, self.stores, self.schedule, self.diary)
        self.schedule.run(0)
        truth, *copies = self.stores
        self.pipelines = [Pipeline(setting, truth, store, self.schedule, self.diary) for store in copies]
        self.application = Application(
            setting,
            truth,
            self.schedule,
            self.diary,
            [pipeline.carry for pipeline in self.pipelines],
            [pipeline.carry_truncate for pipeline in self.pipelines],
        )
        self.damages = [Damages(setting, store, self.schedule, self.diary) for store in copies]
        self.rereads = [
            Rereads(setting, store, self.schedule, self.diary, partial(self._awaits_pass, n))
            for n, store in enumerate(self.stores)
        ]
        if setting.has(Fault.STORE_CLOCK_STEPS):
            for store in self.stores:
                self.schedule.put(setting.dice(f"clock {store.name}").randint(1, setting.end_ms), store.step_clock)
        self.connectors = [Connector(setting, store, self.diary) for store in self.stores]
        for connector in self.connectors:
            if connector.restarts_log_ms != NEVER_MS:
                self.schedule.put(connector.restarts_log_ms, connector.store.restart_log)
        self.ingest = Ingest(setting, self.connectors, self.diary)
        self.contract = contract_of(setting)
        self.workers = [
            Worker(setting, self.contract, target, sent, partial(self._goes_to, target), self.diary)
            for target, sent in enumerate(self.ingest.sent)
        ]
        self.repairs = Repairs(
            setting, self.contract, self.stores, self.workers, self.schedule, self.diary, self.application.write_now
        )

    def _awaits_pass(self, n: int) -> bool:
        """Whether all know where a store's stream begins, and a worker waits for what shows all its rows."""
        known = [worker.shard.progress for worker in self.workers]
        is_read = all(progress.stores[self.stores[n].name].snapshots for progress in known)
        return is_read and any(progress.entities[NUMBER].covered_at_ms[n] is None for progress in known)

    def _goes_to(self, target: int, key: bytes) -> bool:
        return self.ingest.target_of(key) == target

    def run(self) -> Score:
        """Run to the quiet end, and hold what was told against the truth."""
        looked_ms = START_MS
        for now_ms in range(BEGIN_MS + self.setting.tick_ms, self.setting.last_ms, self.setting.tick_ms):
            if now_ms <= START_MS - self.setting.tick_ms:
                continue
            self.schedule.run(now_ms)
            self._stream(now_ms, calm=now_ms >= self.setting.last_ms - _CALM_MS)
            if now_ms >= looked_ms:
                looked_ms += _LOOK_MS
                if self.setting.pipelines_report:
                    self._report(now_ms)
                for worker in self.workers:
                    worker.look(now_ms)
        self.schedule.run(self.setting.last_ms)
        for _ in range(_CALM_STEPS):
            self._stream(self.setting.last_ms, calm=True)
            if all(worker.is_idle for worker in self.workers):
                break
        for worker in self.workers:
            worker.look(self.setting.last_ms)
        judge = Judge(self.setting, self.stores, self.connectors, self.pipelines, self.workers, self.beacons.clock())
        score = judge.judge()
        judge.judge_beacons(self.beacons.wrong())
        self.repairs.judge_inserts()
        judge.judge_repairs(self.repairs.wrong, self.repairs.applied)
        score.faults = self.diary.counts
        return score

    def _report(self, now_ms: int) -> None:
        """Let a probe tell how far each pipeline has come."""
        for i, pipeline in enumerate(self.pipelines):
            place, seen_at_ms = pipeline.report(now_ms, self.beacons.now_ms(now_ms))
            self.ingest.tell(PipelineReached(NUMBER, i, place, seen_at_ms))

    def _stream(self, now_ms: int, *, calm: bool) -> None:
        for connector in self.connectors:
            connector.deliver(now_ms)
        self.ingest.step(now_ms, calm=calm)
        for worker in self.workers:
            worker.step(now_ms, calm=calm)
        if self.setting.repairs and now_ms < self.setting.end_ms:
            self.repairs.step(now_ms, now_ms + self.setting.tick_ms, calm=calm)
