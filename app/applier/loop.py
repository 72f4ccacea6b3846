"""Take commands from Kafka and carry them out, as many together as one transaction may have, until told to stop.

For each command: its effect and its ledger row (`apply`), then its outcome acknowledged by the broker, then its
offset. Killed anywhere between, the command comes again and the ledger answers. A store that does not answer is tried
again with growing pauses, and the commands in hand are kept: nothing is skipped.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import Any, Final, Protocol, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from app import observe
from app.applier.apply import Applier, everywhere
from app.applier.rehearse import Rehearsing
from app.applier.word_reader import Log
from app.applier.words import Words
from app.codec.control import KEY, encode_control
from app.core.breaker import Breaker, Trip
from app.core.command import DISTRUSTED, CommandOutcome, Outcome, RefusalReason, RepairCommand
from app.core.contract import RepairPolicy
from app.core.errors import Undecodable, Unready
from app.core.guard import Refused, repair_policy
from app.core.pace import WritePace
from app.core.published import QuarantinedRecord
from app.core.quarantine import DRIFTS_TOO_MUCH, Drifting, limit_of
from app.core.rehearsal import Rehearsal
from app.core.shard import shard_of
from app.core.switch import Control, Said
from app.core.together import unit_of
from app.ports import Sink

COMMANDS_AT_ONCE: Final = 1_000
"""Taken from Kafka together: while the first of them are written, the others' signatures are checked beside it."""
_POLL_S: Final = 0.2
_WAIT_FIRST_S: Final = 0.2
_WAIT_MOST_S: Final = 10.0

Place = tuple[str, int]
Received = tuple[RepairCommand, int]
"""A command, and the partition that it came in."""
ResultT = TypeVar("ResultT")


class CommandCodec(Protocol):
    """Reads commands, writes outcomes and quarantined records."""

    def read_command(self, value: bytes | None) -> RepairCommand:
        """Decode a repair command; `Undecodable` if it is none."""
        ...

    def outcome(self, outcome: CommandOutcome) -> bytes:
        """Encode what became of a command."""
        ...

    def rehearsal(self, rehearsal: Rehearsal) -> bytes:
        """Encode what came of trying a command."""
        ...

    def quarantine(self, record: QuarantinedRecord) -> bytes:
        """Encode a record that could not be read."""
        ...


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of the topics that the loop reads and writes."""

    repairs: str
    outcomes: str
    quarantine: str
    control: str
    rehearsals: str


@dataclass
class ApplierLoop:
    """What the loop speaks to. `words` must have been started."""

    applier: Applier
    rehearsing: Rehearsing
    words: Words
    consumer: Consumer
    sink: Sink
    codec: CommandCodec
    topics: Topics
    meter: observe.Meter
    log: Log
    stopping: threading.Event = field(default_factory=threading.Event)
    is_reading: bool = False
    partitions: int = 1
    monotonic_ms: Callable[[], int] = lambda: int(time.monotonic() * 1_000)
    _paces: dict[str, WritePace] = field(default_factory=dict)
    _breaker: Breaker = field(default_factory=Breaker)
    _drifting: Drifting = field(default_factory=Drifting)
    _held_back: bool = False
    _lost: set[Place] = field(default_factory=set)

    def run(self) -> None:
        """Carry out commands until `stopping` is set; then finish those in hand, and leave."""
        self._patiently(self.applier.heed_ledgers)
        self.consumer.subscribe([self.topics.repairs], on_assign=self._on_assign, on_revoke=self._on_revoke)
        self.is_reading = True
        try:
            has_old_checks = True
            while not self.stopping.is_set():
                self._heed()
                if has_old_checks and not self.words.is_stopped:
                    self._make_old_checks()
                    has_old_checks = False
                came = self.consumer.consume(COMMANDS_AT_ONCE, timeout=_POLL_S)
                self._carry_out([message for message in came if not self._is_event(message)])
        finally:
            self.is_reading = False
            self.consumer.close()
            self.words.close()

    # -- partitions -------------------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._lost -= {(p.topic, p.partition) for p in partitions}
        consumer.assign(partitions)
        if self._held_back and partitions:
            consumer.pause(partitions)

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._lost |= {(p.topic, p.partition) for p in partitions}

    def _hold_back(self, *, back: bool) -> None:
        """Stop or go on fetching commands, without leaving the group."""
        if back is not self._held_back:
            self._held_back = back
            assigned = self.consumer.assignment()
            if assigned:
                (self.consumer.pause if back else self.consumer.resume)(assigned)

    def _heed(self) -> None:
        """Look whether a person has spoken."""
        self._hear()
        self.meter.set(observe.APPLIER_PAUSED, float(self.words.is_stopped))
        quarantined = Counter(shard.partition("/")[0] for shard in self.words.shards.quarantined())
        for entity in self.applier.contracts:
            self.meter.set(observe.SHARDS_QUARANTINED, float(quarantined[entity]), entity=entity)
        self._hold_back(back=self.words.is_stopped)
        for target in [target for target, pace in self._paces.items() if pace.share < 1]:
            # It gets well also while nothing is to be written.
            self._pace_of(target)

    def _pace_of(self, target: str) -> WritePace:
        """Return how fast a target may be written, by how it bears it now."""
        limits, now_ms = self.applier.limits, self.monotonic_ms()
        pace = self._paces.setdefault(target, WritePace.of(limits.writes_per_second, limits.lag_ms_max, now_ms))
        if not pace.is_due(now_ms):
            return pace
        try:
            strain = self.applier.stores[target].strain()
        except (Refused, Unready):
            # Whoever writes there says what is wrong, and waits.
            pace.looked_ms = now_ms
            return pace
        before, lag_ms = _gait(pace), max(strain.lag_ms, self.words.lags.of(target))
        pace.look(strain.answered_ms, lag_ms, now_ms)
        self.meter.set(observe.REPAIR_PACE, pace.share, store=target)
        gait = _gait(pace)
        if gait != before:
            say = self.log.warning if pace.share < 1 else self.log.info
            what = f"a statement takes {strain.answered_ms:.0f} ms, and what follows is {lag_ms} ms behind"
            say(gait, store=target, what=what)
        return pace

    def _waits_ms(self, target: str) -> int:
        """Return in how many milliseconds a target may be written again; what is no target is refused elsewhere."""
        return self._pace_of(target).waits_ms(self.monotonic_ms()) if target in self.applier.targets else 0

    def _idle(self, seconds: float) -> None:
        """Stay in the group while nothing may be carried out."""
        self._hold_back(back=True)
        for message in self.consumer.consume(1, timeout=seconds):
            # Paused partitions give nothing but events.
            self._is_event(message)
        self._hear()

    def _is_event(self, message: Any) -> bool:  # noqa: ANN401 - confluent_kafka's message
        error = message.error()
        if error is None:
            return False
        # `fatal()` is not true of an error that comes as an event; its code says so.
        if error.code() == KafkaError._FATAL:  # noqa: SLF001 - the library's name for the code
            raise Unready(f"Kafka: {error.str()}", where=self.topics.repairs, hint="start the applier again")
        self.log.warning("Kafka has trouble", what=error.str(), topic=message.topic())
        return True

    # -- commands ---------------------------------------------------------------------------------------------------

    def _carry_out(self, messages: list[Any]) -> None:
        commands: dict[int, RepairCommand] = {}
        for number, message in enumerate(messages):
            command = self._read(message)
            if command is not None:
                commands[number] = command
        left = set(commands)
        numbers = list(commands)
        groups = self.applier.by_transaction(list(commands.values()))
        waiting = deque([numbers[member] for member in members] for members in groups)
        self.applier.belief.expect(commands[number] for group in waiting for number in group)
        while waiting:
            group = waiting.popleft()
            self._wait_until_may_write(commands[group[0]].target)
            # The new owner of a partition that was taken away reads it from the last commit.
            mine = [n for n in group if self._place(messages[n]) not in self._lost]
            received = [(commands[n], messages[n].partition()) for n in mine]
            count, beyond = self._at_once(received)
            if self.stopping.is_set() or not self._answer(received[:count], beyond):
                break
            left -= set(mine[:count])
            if mine[count:]:
                waiting.appendleft(mine[count:])
        self._acknowledge_up_to(messages, left)

    def _at_once(self, received: list[Received]) -> tuple[int, frozenset[str]]:
        """Return how many commands are carried out before it is asked whether their shards drift too much.

        Where a source transaction stands first of which not all may go, it is all of its rows, and the shards in which
        they are too many: then none of it goes.
        """
        most = self._limits([command for command, _ in received])
        if not most:
            # No policy here has such a limit: no row need be counted, which is most of the time.
            return len(received), frozenset()
        count = self._drifting.at_once([command for command, _ in received], most)
        if count:
            return count, frozenset()
        unit = next(list(rows) for _, rows in groupby(received, lambda each: unit_of(each[0])))
        # What others put among them neither counts nor holds them up. This is rare, and to check signatures is dear.
        ours = self._patiently(lambda: [command for command, place in unit if self.applier.is_ours(command, place)])
        return len(unit), self._drifting.beyond(ours or [], most)

    def _limits(self, commands: list[RepairCommand]) -> dict[str, float]:
        """Return how many rows may drift of each shard that has such a limit and is not quarantined."""
        most: dict[str, float] = {}
        for command in {shard_of(command): command for command in commands}.values():
            policy = self._counting_policy(command)
            limit = limit_of(policy, self._shard_rows(command, policy)) if policy is not None else None
            if limit is not None:
                most[shard_of(command)] = limit
        return most

    def _answer(self, received: list[Received], beyond: frozenset[str]) -> bool:
        """Carry out what goes into one transaction and tell the outcomes; False if told to stop before it was done.

        Where it goes `beyond` what shards bear, it is held as in a quarantine, and only what a person approved goes.
        """
        began = time.monotonic()
        applier = replace(self.applier, is_quarantined=everywhere) if beyond else self.applier
        outcomes = self._patiently(partial(self._apply, received, applier))
        for (command, _), outcome in zip(received, outcomes or (), strict=outcomes is not None):
            self._send(outcome)
            is_held = outcome.reason is RefusalReason.QUARANTINED
            self._quarantine_where_too_much(command, outcome, is_beyond=is_held and shard_of(command) in beyond)
            self.meter.observe(observe.REPAIR_LATENCY, time.monotonic() - began, entity=self._counted(outcome.entity))
        written = Counter(o.target for o in outcomes or () if o.outcome in {Outcome.APPLIED, Outcome.INVERTED})
        for target, rows in written.items():
            self._pace_of(target).wrote(rows, self.monotonic_ms())
        return outcomes is not None

    def _acknowledge_up_to(self, messages: list[Any], left: set[int]) -> None:
        """Commit each partition up to before its first command that is left."""
        done: dict[Place, int] = {}
        stopped: set[Place] = set()
        for number, message in enumerate(messages):
            place = self._place(message)
            if number in left:
                stopped.add(place)
            elif place not in stopped:
                done[place] = message.offset() + 1
        if done:
            self._acknowledge(done)

    @staticmethod
    def _place(message: Any) -> Place:  # noqa: ANN401 - confluent_kafka's message
        return message.topic(), message.partition()

    def _wait_until_may_write(self, target: str = "") -> None:
        """Wait while repairs are stopped, or go too fast for their target; what people say meanwhile is heard."""
        self.words.poll()
        while not self.stopping.is_set():
            wait_s = _POLL_S if self.words.is_stopped else min(_POLL_S, self._waits_ms(target) / 1_000)
            if not wait_s:
                break
            self.meter.set(observe.APPLIER_PAUSED, float(self.words.is_stopped))
            self._idle(wait_s)
        self._hold_back(back=False)

    def _patiently(self, step: Callable[[], ResultT]) -> ResultT | None:
        """Make a step; while a store does not answer, try again with growing pauses. None if told to stop."""
        wait_s = _WAIT_FIRST_S
        while True:
            try:
                return step()
            except Unready as fault:
                self.log.warning(
                    "the applier must wait",
                    what=fault.what,
                    where=fault.where,
                    hint=fault.hint,
                    again_in_ms=int(wait_s * 1_000),
                )
            deadline = time.monotonic() + wait_s * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, hides nothing
            while time.monotonic() < deadline:
                if self.stopping.is_set():
                    return None
                if self.is_reading:
                    self._idle(0.1)
                else:
                    self.stopping.wait(0.1)
            wait_s = min(wait_s * 2, _WAIT_MOST_S)
            if self.is_reading:
                # Somebody may have said stop meanwhile.
                self._wait_until_may_write()
            if self.stopping.is_set():
                return None

    def _make_old_checks(self) -> None:
        for outcome in self._patiently(self.applier.check_unchecked) or ():
            self._send(outcome)
        # A failed delivery ends the process here and everywhere: nothing after it is committed.
        self.sink.flush()

    def _read(self, message: Any) -> RepairCommand | None:  # noqa: ANN401 - confluent_kafka's message
        """Return the command of a record; None for one that cannot be read, which goes to quarantine."""
        try:
            return self.codec.read_command(message.value())
        except Undecodable as fault:
            self._quarantine(message, fault)
            return None

    def _apply(self, commands: list[Received], applier: Applier) -> list[CommandOutcome]:
        if any(command.needs_approval and not self.words.words_on(command) for command, _ in commands):
            # The planner may know of a word that has not been read here yet.
            self.words.catch_up()
        for command, partition in commands:
            for batch_id in self.words.asked_of(command):
                self._rehearse(batch_id, command, partition)
        return applier.apply_transaction(commands)

    def _rehearse(self, batch_id: bytes, command: RepairCommand, partition: int) -> None:
        """Try a command that a person asks about, and tell what came of it; twice after a crash, which does no harm."""
        shown = self.rehearsing.rehearse(batch_id, command, partition)
        if shown is not None:
            self.sink.send(self.topics.rehearsals, shown.partition, shown.batch_id, self.codec.rehearsal(shown))
            self.meter.add(observe.REHEARSALS, reason=shown.reason.value if shown.reason else "")

    def _hear(self) -> None:
        """Hear what people say; what is refused of it is told also while nothing may be written."""
        self.words.poll()
        self._tell_refused_words()

    def _tell_refused_words(self) -> None:
        """Put what was refused of people's words on the topic of outcomes, under the batch's id, and remember it."""
        told = 0
        # To tell one may open the breaker, and that reads further words.
        while told < len(words := self.words.to_tell()):
            refused, told = words[told], told + 1
            more = f", and {refused.others} more up to offset {refused.through}" if refused.others else ""
            self._send(
                CommandOutcome(
                    command_id=refused.name,
                    finding_id=b"",
                    entity="",
                    target="",
                    outcome=Outcome.REFUSED,
                    reason=refused.reason,
                    at_ms=self.applier.now_wall_ms(),
                    transaction="",
                    partition=refused.partition,
                    trace_id=b"",
                    detail=f"a word of {refused.topic}, at offset {refused.offset}{more}",
                )
            )
            if refused.others and refused.reason in DISTRUSTED:
                self.meter.add(observe.REPAIR_ALARMS, refused.others, reason=refused.reason.value)
        if told:
            self.sink.flush()
        self.words.were_told()

    def _counted(self, entity: str) -> str:
        """Return an entity's name as a label: what somebody else made up is not one."""
        return entity if entity in self.applier.contracts else "unknown"

    def _send(self, outcome: CommandOutcome) -> None:
        self.sink.send(self.topics.outcomes, outcome.partition, outcome.command_id, self.codec.outcome(outcome))
        self.applier.failpoint("outcome_sent")
        self.meter.add(observe.REPAIRS, entity=self._counted(outcome.entity), outcome=outcome.outcome.value)
        if outcome.reason is not None:
            self.meter.add(observe.REPAIR_REFUSALS, reason=outcome.reason.value)
        is_alarm = outcome.reason in DISTRUSTED
        if is_alarm and outcome.reason is not None:
            self.meter.add(observe.REPAIR_ALARMS, reason=outcome.reason.value)
        say = self.log.info if outcome.outcome is Outcome.APPLIED else self.log.warning
        if outcome.reason is RefusalReason.APPLIER_FAILED:
            say = self.log.error
        if outcome.outcome is Outcome.APPLIED and outcome.reason is RefusalReason.NO_RIGHT:
            # A wrong row stands that nothing but a person takes away.
            say = self.log.error
        say(
            "command " + outcome.outcome.value,
            entity=outcome.entity,
            target=outcome.target,
            repair_id=outcome.command_id,
            drift_id=outcome.finding_id,
            trace_id=outcome.trace_id,
            reason=outcome.reason.value if outcome.reason else "",
            what=outcome.detail,
            **({"security": 5} if is_alarm else {}),
        )
        trip = self._breaker.after(outcome)
        if trip is not None:
            self._stop_ourselves(trip)

    def _stop_ourselves(self, trip: Trip) -> None:
        """Say stop on the topic, for every applier and over every restart; a person lets repairs go on."""
        self._breaker = Breaker()
        if self.words.is_stopped:
            # A flood would make one word of ten records, and each is there to stop what is stopped.
            return
        word = Control(Said.PAUSE, "the breaker", self.applier.now_wall_ms(), trip.value)
        self.sink.send(self.topics.control, 0, KEY, encode_control(word))
        self.sink.flush()
        self.meter.add(observe.BREAKER_TRIPS, reason=trip.value)
        self.log.error("the breaker is open: a person must look, and say `driftline resume`", reason=trip.value)
        # Nothing more is begun before the word has come back.
        self.words.catch_up()

    def _counting_policy(self, command: RepairCommand) -> RepairPolicy | None:
        """Return the policy by which drifts are counted in a command's shard; None where they are not, or no more."""
        policy = repair_policy(self.applier.contracts.get(command.entity), command.target)
        return None if policy is None or self.words.is_quarantined(command) else policy

    def _shard_rows(self, command: RepairCommand, policy: RepairPolicy) -> float | None:
        """Return about how many rows a command's shard has, where the policy asks for it and anybody knows."""
        if policy.quarantine_percent is None:
            return None
        rows = None
        # Where the table cannot be asked, the commands' own outcomes say so.
        with suppress(Refused):
            rows = self._patiently(partial(self.applier.stores[command.target].table_rows, command.entity))
        return rows / self.partitions if rows else None

    def _quarantine_where_too_much(self, command: RepairCommand, outcome: CommandOutcome, *, is_beyond: bool) -> None:
        """Stop repairs in the shard of a command where it drifts more than its policy bears, and say so."""
        policy = self._counting_policy(command)
        if policy is None:
            return
        shard_rows = self._shard_rows(command, policy)
        if not self._drifting.after(command, outcome, policy, shard_rows, is_beyond=is_beyond):
            return
        shard = shard_of(command)
        word = Control(Said.PAUSE, "the applier", self.applier.now_wall_ms(), DRIFTS_TOO_MUCH, shard=shard)
        self.sink.send(self.topics.control, 0, KEY, encode_control(word))
        self.sink.flush()
        self.meter.add(observe.QUARANTINES, entity=self._counted(command.entity))
        self.log.error(
            "a shard is quarantined: its tables are read again, and a person must look",
            entity=command.entity,
            target=command.target,
            partition=command.partition,
            reason=DRIFTS_TOO_MUCH,
        )
        # No other command of the shard is begun before the word has come back.
        self.words.catch_up()

    def _quarantine(self, message: Any, fault: Undecodable) -> None:  # noqa: ANN401 - confluent_kafka's message
        record = QuarantinedRecord(
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
            stage="decode",
            reason=fault.reason,
            what=fault.what,
            key=message.key(),
            value=message.value(),
            at_wall_ms=self.applier.now_wall_ms(),
        )
        name = f"{message.topic()}/{message.partition()}/{message.offset()}".encode()
        self.sink.send(self.topics.quarantine, 0, name, self.codec.quarantine(record))
        self.log.error(
            "a command cannot be read",
            what=fault.what,
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
            security=4,
        )

    def _acknowledge(self, done: dict[Place, int]) -> None:
        """Wait for the outcomes' acknowledgement, then commit the offsets; a failure ends the process."""
        self.sink.flush()
        self.applier.failpoint("outcome_acknowledged")
        offsets = [TopicPartition(topic, number, offset) for (topic, number), offset in done.items()]
        offsets = [p for p in offsets if (p.topic, p.partition) not in self._lost]
        try:
            if offsets:
                self.consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            # The commands come again and the ledger answers.
            self.log.warning("offsets are not committed", what=error.args[0].str(), topic=self.topics.repairs)
        self.applier.failpoint("offset_committed")


def _gait(pace: WritePace) -> str:
    """Return what is said of a target's pace where it becomes another."""
    if pace.is_stopped:
        return "repairs wait for a target that does not bear them"
    return "repairs slow down" if pace.share < 1 else "repairs go at their full pace"
