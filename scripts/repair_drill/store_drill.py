"""One target from its damage to its judgement: repairs in waves, a death in each, and then everything undone."""

from __future__ import annotations

import json
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from repair_judge.evidence import Evidence, OutcomeSchema, ledger_of, outcomes_of, table_of
from repair_judge.judge import FINAL, Judgement, judge
from repair_judge.story import COVERED, Kind, Repair, Row, Side, Write
from repair_judge.undone import judge_undone

from repair_drill.application import Application, Stuck
from repair_drill.deployment import ELSEWHERE, OWN, SERVERS, Deployment, Direction, Failed, some_row
from repair_drill.moments import STEPS, Death, Moment, deaths, kinds, moments, server_ends
from repair_drill.outcomes import SCHEMA, Outcomes
from repair_drill.planner import Planner, key_of
from repair_drill.servers import Servers
from repair_drill.steps import Line

Say = Callable[[str], None]

_BYSTANDERS: Final = 500
_TURN_S: Final = 0.03
_HELD_S: Final = 0.3
_QUIET_S: Final = 1.0
_PATIENCE_S: Final = 300.0
# Of the waves: in the last ones the application writes what could not be written before.
_WRITTEN_BY: Final = 0.85
_UNDO_DEATHS: Final = ("ledger_row_inserted", "row_written", "before_commit", "committed", "outcome_sent")


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done in each store: repairs, rows that the application writes, and what dies how often at random."""

    repairs: int
    writes: int
    random_deaths: int
    server_deaths: int


class StoreDrill:
    """The drill of one target."""

    def __init__(
        self,
        deployment: Deployment,
        servers: Servers,
        way: Direction,
        size: Size,
        seed: int,
        say: Say,
    ) -> None:
        self._deployment = deployment
        self._servers = servers
        self._way = way
        self._size = size
        self._say = say
        self._chance = random.Random(f"{seed} {way.target}")  # noqa: S311 - a drill's dice
        self._application = Application(deployment)
        self._repairs: list[Repair] = []
        self._numbers = 0
        # What the current wave waits for, by the command's id.
        self._of: dict[str, Repair] = {}
        self._armed: dict[str, deque[tuple[Side, str]]] = {}
        self._server_ends_at = ""
        self._server_deaths = 0
        self._left: list[Moment] = []

    # -- the tables -----------------------------------------------------------------------------------------------

    def damage(self) -> None:
        """Fill the table in both stores: rows that differ, and rows that nobody has to do with."""
        here: list[tuple[int, Row]] = []
        there: list[tuple[int, Row]] = []
        for number, kind in enumerate(kinds(self._size.repairs), start=1):
            truth = some_row(self._chance, f"true {number}") if kind is not Kind.EXTRA else None
            before = some_row(self._chance, f"false {number}") if kind is not Kind.MISSING else None
            self._repairs.append(Repair(number, kind, before, truth))
            here += [(number, before)] if before else []
            there += [(number, truth)] if truth else []
        strangers = range(self._size.repairs + 1, self._size.repairs + 1 + _BYSTANDERS)
        others = [(number, some_row(self._chance, f"other {number}")) for number in strangers]
        self._deployment.fill(self._way.target, self._way.table, here + others)
        self._deployment.fill(self._way.authority, self._way.table, there + others)
        self._deployment.fill(self._way.target, ELSEWHERE, others)

    def _evidence(self, outcomes_topic: str = "") -> Evidence:
        """Read what is there; ledger and outcomes once there may be some."""
        target, authority = (
            lambda text, store=store: self._deployment.ask(store, text)
            for store in (self._way.target, self._way.authority)
        )
        found = Evidence(
            table_of(target, self._way.table), table_of(authority, self._way.table), table_of(target, ELSEWHERE)
        )
        if not outcomes_topic:
            return found
        ledger = ledger_of(target, f"{OWN}.driftline_ledger")
        said = outcomes_of(self._deployment.bootstrap, outcomes_topic, OutcomeSchema(SCHEMA), self._way.target)
        return replace(found, ledger=ledger, outcomes=said)

    # -- the run --------------------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Repair, judge, undo, judge."""
        begun = time.monotonic()
        server = SERVERS[self._way.target]
        before = self._evidence()
        planner = Planner(self._deployment, self._way)
        folder = self._deployment.folder / server
        folder.mkdir()
        line = Line(folder, self._deployment.config, self._at_step)
        outcomes = Outcomes(self._deployment.bootstrap, planner.outcomes)
        own: list[str] = []
        try:
            self._say(f"{server}: {len(self._repairs)} rows are wrong, and {_BYSTANDERS} are nobody's business")
            try:
                self._repair(planner, line, outcomes)
            except Stuck as stuck:
                own.append(f"a missing outcome: {stuck}")
            line.stop()
            repaired_s = time.monotonic() - begun
            repaired = self._evidence(planner.outcomes)
            sent = [repair for repair in self._repairs if repair.command_id]
            judgement = judge(sent, before, repaired)
            own += self._own_faults(line)
            self._say(f"{server}: {_spelled(judgement)}; {line.kills} deaths in {repaired_s:.0f} s; all is undone now")
            asked = self._undo(line, outcomes) if judgement.outcomes["applied"] else 0
            line.stop()
        finally:
            line.close()
            outcomes.close()
        undone = judge_undone(sent, before, repaired, self._evidence(planner.outcomes), asked)
        self._say(f"{server}: {_spelled(undone)}")
        own += self._audited()
        return {
            "repairs": len(self._repairs),
            "outcomes": dict(judgement.outcomes),
            "application_writes": judgement.writes,
            "application_waited": self._application.waited,
            "written_at": dict(Counter(write.step for repair in self._repairs for write in repair.writes)),
            "deaths": line.kills,
            "server_deaths": self._server_deaths,
            "steps_passed": dict(line.passed),
            "undone": dict(undone.outcomes),
            "repair_seconds": round(repaired_s, 1),
            "seconds": round(time.monotonic() - begun, 1),
            "faults": [*own, *judgement.faults, *undone.faults],
        }

    def _audited(self) -> list[str]:
        """Ask the product whether the ledger is whole."""
        try:
            self._deployment.run("audit", "--store", self._way.target)
        except Failed as failed:
            return [f"a ledger that is not whole: {failed}"]
        return []

    def _own_faults(self, line: Line) -> list[str]:
        """Tell what this drill was to do and did not: it would prove less than it says."""
        faults = [f"no applier came to die at {death}" for death in line.due]
        faults += [f"no applier passed {step}" for step in STEPS if not line.passed[step]]
        written = sum(bool(repair.writes) for repair in self._repairs)
        if written < self._size.writes:
            faults.append(f"the application wrote {written} rows and not {self._size.writes}")
        if self._server_deaths < self._size.server_deaths:
            faults.append(f"the server was killed {self._server_deaths} times")
        return [f"the drill's own fault: {fault}" for fault in faults]

    def _repair(self, planner: Planner, line: Line, outcomes: Outcomes) -> None:
        """Send all commands in waves, an applier's death in each."""
        planned = deaths(self._chance, self._size.random_deaths)
        ends = server_ends(len(planned), self._size.server_deaths)
        coming = moments(self._chance)
        for number, death in enumerate(planned):
            done = len(self._repairs) * number // len(planned)
            wave = self._repairs[done : len(self._repairs) * (number + 1) // len(planned)]
            planner.plan(wave)
            self._of = {repair.command_id: repair for repair in wave}
            self._server_ends_at = ends.get(number, "")
            share = min(1.0, (number + 1) / (_WRITTEN_BY * len(planned)))
            wanted = round(self._size.writes * share) - sum(bool(repair.writes) for repair in self._repairs)
            self._left.extend(next(coming) for _ in range(wanted - len(self._left)))
            self._arm(wave, [moment for due in (*line.due, death) for moment in due.needs])
            line.begin({key_of(repair.number).hex(): repair.command_id for repair in wave}, death)
            planner.send(list(self._of))
            self._until_ended(planner, line, outcomes)
            self._disarm()
            if number * 10 // len(planned) > (number - 1) * 10 // len(planned):
                self._say(f"{done} repairs are done, {line.kills} appliers have died")

    def _arm(self, wave: Sequence[Repair], needed: Sequence[Moment]) -> None:
        """Give moments a row of their kind, as far as the wave has some.

        Those that a death needs come alone: beside a row that is refused they would have to be met a second time.
        """
        free = {kind: deque(repair for repair in wave if repair.kind is kind) for kind in Kind}
        put_off: list[Moment] = []
        for moment in needed or self._left:
            if free[moment.kind]:
                self._armed[free[moment.kind].popleft().command_id] = deque(moment.writes)
            else:
                put_off.append(moment)
        if not needed:
            self._left = put_off

    def _disarm(self) -> None:
        """Put off what was not written at all: the applier did not pass there with the row in hand."""
        for command_id, writes in self._armed.items():
            repair = self._of[command_id]
            if not repair.writes:
                self._left.append(Moment(repair.kind, tuple(writes)))
        self._armed = {}

    def _until_ended(self, planner: Planner, line: Line, outcomes: Outcomes) -> None:
        """Wait until each command of the wave has ended; send again what was held, as the planner does."""
        open_ids, held_s = set(self._of), dict[str, float]()
        moved_s = time.monotonic()
        while open_ids or not self._application.is_quiet() or (line.due and time.monotonic() - line.heard_s < _QUIET_S):
            line.turn(_TURN_S)
            now_s = time.monotonic()
            for command_id, told in outcomes.news():
                moved_s = now_s
                if told.outcome in FINAL:
                    open_ids.discard(command_id)
                    held_s.pop(command_id, None)
                elif command_id in open_ids:
                    held_s[command_id] = now_s + _HELD_S
            again = [command_id for command_id, at_s in held_s.items() if at_s <= now_s]
            for command_id in again:
                del held_s[command_id]
            if again:
                planner.send(again)
            if now_s - max(moved_s, line.heard_s) > _PATIENCE_S:
                raise Stuck(f"{len(open_ids)} of {len(self._of)} commands of a wave have not ended")

    def _at_step(self, step: str, command_ids: set[str]) -> None:
        """Do what is to happen at a step to the rows that it was made for."""
        for command_id in sorted(self._armed.keys() & command_ids):
            writes = self._armed[command_id]
            if writes and writes[0][1] == step:
                side, _ = writes.popleft()
                self._write(self._of[command_id], side, step)
        if step == self._server_ends_at and command_ids:
            self._server_ends_at = ""
            self._server_deaths += 1
            self._servers.kill_and_start(SERVERS[self._way.target])

    def _write(self, repair: Repair, side: Side, step: str) -> None:
        self._numbers += 1
        row = some_row(self._chance, f"application {self._numbers}")[:COVERED]
        # Noted first: what is not written in the end must be missed.
        repair.writes.append(Write(side, step, row))
        store = self._way.target if side is Side.TARGET else self._way.authority
        self._application.write(store, self._way.table, repair.number, row)

    def _undo(self, line: Line, outcomes: Outcomes) -> int:
        """Undo everything, an applier's death at some steps; return how many repairs that was."""
        self._of, self._armed = {}, {}
        # Not waited for: the applier stands still until its steps are turned below. Hence "not known".
        asked = json.loads(
            self._deployment.run(
                "-o",
                "json",
                "undo",
                "--since",
                "24h",
                "--store",
                self._way.target,
                "--entity",
                self._way.entity,
                "--wait",
                "0s",
                "--yes",
                code=3,
            )
        )
        line.begin({}, None)
        line.due = [Death(step=step) for step in _UNDO_DEATHS]
        known = {repair.command_id for repair in self._repairs}
        ended: set[str] = set()
        moved_s = time.monotonic()
        while len(ended) < len(asked) or line.due:
            line.turn(_TURN_S)
            for command_id, told in outcomes.news():
                if command_id not in known and told.outcome in FINAL:
                    ended.add(command_id)
                    moved_s = time.monotonic()
            if time.monotonic() - max(moved_s, line.heard_s) > _PATIENCE_S:
                raise Stuck(f"{len(ended)} of {len(asked)} undos have ended")
        return len(asked)


def _spelled(judgement: Judgement) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in judgement.outcomes.most_common()) or "nothing"
