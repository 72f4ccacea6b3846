"""The applier: the product's own, killed at any step, while the application and the pipelines go on between its steps.

Whatever it commits is seen at the very moment, and held against what it may do: a row goes from the state that the
command expects to the one that it intends, which the authority shows then, or it is not touched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Final, NamedTuple

from app.adapters.seal import DeploymentSeals, Seal
from app.adapters.signing import SigningKey, verify
from app.applier.apply import Applier
from app.applier.belief import Belief
from app.core.chain import must_be_recorded
from app.core.command import CommandOutcome, Outcome, RepairCommand
from app.core.contract import EntityContract
from app.core.errors import Unready
from app.core.ledger import LedgerKind, LedgerRow
from app.core.signing import signed_form
from app.core.trust import Signer, SignerRole
from app.simulation.diary import Diary
from app.simulation.faults import Fault
from app.simulation.planning import Planning
from app.simulation.schedule import Schedule
from app.simulation.setting import Setting
from app.simulation.stores import ENTITY, Store
from app.simulation.worker import Worker

_SEALS: Final = DeploymentSeals(Seal([b"s" * 32]), Seal([b"l" * 32]))
_DEPLOYMENT: Final = "simulation"
_PLANNER: Final = SigningKey(b"p" * 32)
_SIGNERS: Final = {_PLANNER.key_id: Signer(SignerRole.PLANNER, "planner", _PLANNER.public_key)}
_BELIEF: Final = Belief(_DEPLOYMENT, lambda: _SIGNERS, verify)
_AGAIN_MS: Final = 300
_CRASHES: Final = 0.03
_GONE: Final = 0.05
_REPEATS: Final = 0.1
_ALTERS: Final = 0.2
_STEP_MOST_MS: Final = 12
_ZERO_MS: Final = 10**6
"""The wall clock at the world's beginning; it decides nothing but a command's expiry."""


_RACES_ROW: Final = 0.1
"""How often the row itself is written in the authority between two steps of its repair."""


class Wrong(NamedTuple):
    """Something that the applier did and may not do, and when."""

    what: str
    store: str
    key: bytes
    at_ms: int


class _Killed(Exception):
    """The applier's process died here."""


@dataclass(slots=True)
class Repairs:
    """Planner and applier of a world. `rival` lets the application write a row of the authority."""

    setting: Setting
    contract: EntityContract
    stores: Sequence[Store]
    workers: Sequence[Worker]
    schedule: Schedule
    diary: Diary
    rival: Callable[[bytes, int], None]
    wrong: list[Wrong] = field(default_factory=list)
    applied: set[bytes] = field(default_factory=set)
    _dice: Random = field(init=False)
    _planning: Planning = field(init=False)
    _commands: deque[tuple[int, RepairCommand]] = field(default_factory=deque)
    _taken: list[int] = field(init=False)  # per worker: findings that the planner has seen
    _known: dict[bytes, LedgerRow] = field(default_factory=dict)
    _now_ms: int = 0
    _calm: bool = False
    _must_check: bool = True
    _command: RepairCommand | None = None
    _shown: int | None = None
    _read_again: int = 0  # how much the authority's log held when it was last read after an insert

    def __post_init__(self) -> None:
        self._dice = self.setting.dice("applier")
        self._taken = [0] * len(self.workers)
        self._planning = Planning(self.setting, self.contract, _SEALS, self.diary, self._send)
        if self.setting.has(Fault.TARGET_ALTERS):
            for store in self.stores[1:]:
                store.rows.holds = self._alter

    def step(self, now_ms: int, until_ms: int, *, calm: bool) -> None:
        """Plan on what was told, and carry out commands until a moment."""
        self._now_ms, self._calm = now_ms, calm
        for n, worker in enumerate(self.workers):
            for told in worker.told[self._taken[n] :]:
                self._planning.on_finding(told.finding, _ZERO_MS + now_ms)
            self._taken[n] = len(worker.told)
        self._planning.on_time(_ZERO_MS + now_ms)
        while self._commands and self._commands[0][0] <= self._now_ms < until_ms:
            _, command = self._commands.popleft()
            outcome = self._carry_out(command)
            if outcome is None:
                self._must_check = True
                self._commands.appendleft((self._now_ms + _AGAIN_MS, command))
            else:
                self._judge_outcome(command, outcome)
                self._planning.on_outcome(outcome, _ZERO_MS + self._now_ms)

    def _alter(self, _column: str, value: object) -> object:
        """Return what the target makes of a value that a repair writes."""
        if not isinstance(value, int) or self._dice.random() >= _ALTERS:
            return value
        self.diary.note(Fault.TARGET_ALTERS, self._now_ms)
        return value ^ 1

    def _send(self, command: RepairCommand) -> None:
        due_ms = self._now_ms + self._dice.randint(1, 500)
        unsigned = replace(command, key_id=_PLANNER.key_id, signature=b"")
        command = replace(unsigned, signature=_PLANNER.sign(signed_form(_DEPLOYMENT, unsigned)))
        self._commands.append((due_ms, command))
        if self.setting.has(Fault.COMMANDS_REPEAT) and self._dice.random() < _REPEATS:
            self.diary.note(Fault.COMMANDS_REPEAT, self._now_ms, command.target)
            self._commands.append((due_ms, command))

    def _carry_out(self, command: RepairCommand) -> CommandOutcome | None:
        """Return what became of a command; None if the applier died, or its target was gone."""
        target = self._store(command.target)
        gone = not self._calm and self.setting.has(Fault.TARGET_GONE) and self._dice.random() < _GONE
        if gone:
            self.diary.note(Fault.TARGET_GONE, self._now_ms, target.name)
            target.rows.is_reachable = False
        self._begin(command)
        applier = self._applier()
        try:
            if self._must_check:
                applier.check_unchecked()
                self._must_check = False
            self._begin(command)
            return applier.apply(command, command.partition)
        except (_Killed, Unready):
            return None
        finally:
            self._notice()
            self._command = None
            target.rows.is_reachable = True

    def _applier(self) -> Applier:
        replicas = self.setting.store_names[1:]
        return Applier(
            contracts={ENTITY: self.contract},
            stores={store.name: store.rows for store in self.stores},
            targets=frozenset(replicas),
            seals=_SEALS,
            belief=_BELIEF,
            words_on=lambda _command: (),
            now_wall_ms=lambda: _ZERO_MS + self._now_ms,
            failpoint=self._between,
        )

    def _between(self, name: str) -> None:
        """Let the world go on between two steps of the applier, and perhaps let it die."""
        self._notice()
        if name == "authority_read_again":
            self._read_again = len(self.stores[0].log)
        if self.setting.has(Fault.APPLIER_RACES):
            self._now_ms += self._dice.randint(0, _STEP_MOST_MS)
            if not self._calm and self._dice.random() < _RACES_ROW:
                self.schedule.put(self._now_ms, partial(self.rival, self._key()))
            if self.schedule.run(self._now_ms + 1):
                self.diary.note(Fault.APPLIER_RACES, self._now_ms)
        self._look()
        if not self._calm and self.setting.has(Fault.APPLIER_CRASHES) and self._dice.random() < _CRASHES:
            self.diary.note(Fault.APPLIER_CRASHES, self._now_ms)
            raise _Killed(name)

    # -- what the applier has committed ------------------------------------------------------------------------------

    def _store(self, name: str) -> Store:
        return self.stores[self.setting.store_names.index(name)]

    def _key(self) -> bytes:
        command = self._command
        return b"" if command is None else _SEALS.open_key(command.entity, command.sealed_key)

    def _begin(self, command: RepairCommand) -> None:
        self._command = command
        self._look()

    def _look(self) -> None:
        if self._command is not None:
            self._shown = self._store(self._command.target).value(self._key())

    def _notice(self) -> None:
        """Put into the target's log what the applier has committed since the last step, and judge it."""
        for store in self.stores[1:]:
            new = [row for row_id, row in store.rows.ledger.items() if row_id not in self._known]
            if not new:
                continue
            transaction = store.begin(self._now_ms)
            for row in new:
                self._known[row.row_id] = row
                store.log_ledger(self._now_ms, row, transaction)
                key = _SEALS.open_key(row.entity, row.sealed_key)
                before = self._shown
                after = store.value(key)
                if row.kind is LedgerKind.COMMAND:
                    self.applied.add(row.row_id)
                if row.kind is LedgerKind.CHECK:
                    self._judge_check(store, key, row)
                if row.kind in {LedgerKind.COMMAND, LedgerKind.INVERSE}:
                    self._judge(store, key, row, before, after)
                    store.log_row(self._now_ms, key, before, after, transaction)
        self._look()

    def _judge(self, store: Store, key: bytes, row: LedgerRow, before: int | None, after: int | None) -> None:
        truth = self.stores[0].value(key)
        allowed = store.digest_of(before) == row.expected_digest and store.digest_of(after) == row.intended_digest
        if row.kind is LedgerKind.COMMAND and not self.setting.has(Fault.APPLIER_RACES):
            # Nothing happens between its steps, so that the authority still shows what was read.
            allowed = allowed and store.digest_of(truth) == row.intended_digest
        if not allowed:
            self._complain("a repair of another row than it expected", store, key)

    def _judge_check(self, store: Store, key: bytes, row: LedgerRow) -> None:
        """An insert stands if the authority still showed the row, or if it could not be taken back any more."""
        command = store.rows.ledger[row.original_id]
        stands = row.outcome is Outcome.APPLIED and row.reason is None
        read = next((e for e in reversed(self.stores[0].log[: self._read_again]) if e.key == key), None)
        if stands and self.stores[0].digest_of(read and read.value) != command.intended_digest:
            self._complain("an insert stands though the authority had moved", store, key)

    def _judge_outcome(self, command: RepairCommand, outcome: CommandOutcome) -> None:
        """What is told of a command is what the ledger says."""
        store = self._store(command.target)
        recorded = store.rows.ledger.get(command.command_id)
        was_done = recorded is not None and recorded.kind is LedgerKind.COMMAND and recorded.outcome is Outcome.APPLIED
        is_told_done = outcome.outcome in {Outcome.APPLIED, Outcome.INVERTED}
        if was_done != is_told_done or (recorded is None and must_be_recorded(outcome)):
            key = _SEALS.open_key(command.entity, command.sealed_key)
            self._complain("an outcome that the ledger does not know", store, key)

    def judge_inserts(self) -> None:
        """At the end, each insert that was not under way any more was checked."""
        under_way = {command.command_id for _, command in self._commands}
        for store in self.stores[1:]:
            for row in store.rows.unchecked_inserts(1_000):
                if row.row_id not in under_way:
                    self._complain("an insert was never checked", store, _SEALS.open_key(row.entity, row.sealed_key))

    def _complain(self, what: str, store: Store, key: bytes) -> None:
        self.wrong.append(Wrong(what, store.name, key, self._now_ms))
