"""A campaign: damages are planted, and each is followed until it is detected, repaired and verified.

The campaign looks at the topics through the judge's eyes only. A person's word, where one is needed, is given through
the command line as soon as the applier says that it waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from judge_parts.opinion import Found, Opinion, Planted, judge
from judge_parts.rows import Difference, differences
from judge_parts.stories import Story

from demo_parts.damages import Damage, Shop
from demo_parts.pipeline import await_condition

_TOLD_AT_MOST = 3

Approve = Callable[[Sequence[bytes]], None]


@dataclass
class Case:
    """One damage in the course of a campaign."""

    damage: Damage
    planted: list[Planted] = field(default_factory=list)
    problem: str = ""
    truth: list[Difference] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    incident_seen: bool = False

    @property
    def at(self) -> float | None:
        """The second of the damage's commit."""
        return self.planted[0].at if self.planted else None

    def _latest(self, times: Sequence[float | None]) -> float | None:
        known = [t for t in times if t is not None]
        return max(known) if known and len(known) == len(times) else None

    @property
    def detected_after_s(self) -> float | None:
        """Seconds until the last of its rows was reported."""
        return self._latest([f.detected_after for f in self.found])

    @property
    def repaired_after_s(self) -> float | None:
        """Seconds until the last of its rows was written."""
        return self._latest([f.repaired_after for f in self.found])

    @property
    def verified_after_s(self) -> float | None:
        """Seconds until the last of its rows was proven."""
        return self._latest([f.verified_after for f in self.found])

    @property
    def refusal(self) -> str:
        """The reason for which a repair was refused, or nothing."""
        return next((f.story.refusal for f in self.found if f.story and f.story.refusal), "")

    @property
    def kind(self) -> str | None:
        """The kinds that were reported, as one word."""
        kinds = dict.fromkeys(f.story.kind for f in self.found if f.story)
        return " and ".join(kinds) if kinds else None

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come."""
        if self.problem:
            return True
        if not self.found or any(f.story is None for f in self.found):
            return False
        return all(self._is_over(f) for f in self.found)

    @property
    def healed(self) -> int:
        """Rows that the pipeline itself put right, by a change that it brought once more."""
        return sum(self._healed(f) for f in self.found)

    def _is_over(self, found: Found) -> bool:
        return found.verified_after is not None or self._refused(found) or self._healed(found)

    def _healed(self, found: Found) -> bool:
        return bool(self.damage.redelivery_heals and found.story and found.story.resolved_by_itself)

    def _refused(self, found: Found) -> bool:
        return bool(self.damage.may_be_refused and found.story and found.story.refusal)

    def faults(self) -> list[str]:
        """Say everything that is wrong with how this damage was dealt with."""
        name = self.damage.name
        if self.problem:
            return [f"{name}: {self.problem}"]
        said = []
        for found in self.found:
            row = f"{name}: row {found.planted.key} of {found.planted.entity}"
            if found.story is None:
                said.append(f"{row} was missed")
            elif found.story.kind != found.planted.kind:
                said.append(f"{row} was called {found.story.kind}, not {found.planted.kind}")
            elif not self._is_over(found):
                said.append(f"{row} was not repaired and verified ({_how_far(found.story)})")
        if len(said) > _TOLD_AT_MOST:
            said = [*said[:_TOLD_AT_MOST], f"{name}: and {len(said) - _TOLD_AT_MOST} more rows"]
        if self.damage.incident and not self.incident_seen:
            said.append(f"{name}: its rows were not reported as one incident")
        return said


def _how_far(story: Story) -> str:
    last = " ".join(story.outcomes[-1][1:]) if story.outcomes else "no outcome"
    return f"stages {', '.join(story.stages)}; {last}"


@dataclass
class Campaign:
    """Damages on their way."""

    shop: Shop
    stories: Callable[[], list[Story]]
    approve: Approve
    was_late: Callable[[Story], bool]
    check: Callable[[], None]
    cases: list[Case] = field(default_factory=list)
    _approved: set[bytes] = field(default_factory=set)

    def prepare(self, damages: Sequence[Damage]) -> list[Case]:
        """Make the healthy changes that the damages rest on, and wait until the copy has them."""
        cases = [Case(damage) for damage in damages]
        self.cases += cases
        for case in cases:
            if case.damage.prepare:
                case.damage.prepare(self.shop)
        for case in cases:
            settled = case.damage.settled
            if settled:
                await_condition(
                    lambda check=settled: check(self.shop),  # type: ignore[misc]
                    30,
                    f"the pipeline to bring what {case.damage.name} rests on",
                )
        return cases

    def plant(self, case: Case) -> None:
        """Do one damage, and let the judge see by SQL that it is there."""
        damage = case.damage
        try:
            at = damage.plant(self.shop)
        except Exception as error:  # noqa: BLE001 - one damage that cannot be planted is told; the others go on
            case.problem = f"could not be planted: {type(error).__name__}: {error}"
            return
        case.planted = [Planted(damage.name, damage.entity, e.key, e.kind, at) for e in damage.expected]
        keys = [e.key for e in damage.expected]

        def is_there() -> bool:
            case.truth = differences(self.shop.origin, self.shop.copy, damage.entity, keys)
            return len(case.truth) == len(keys)

        try:
            await_condition(is_there, 10, "the damage")
        except TimeoutError:
            case.problem = f"the judge sees {len(case.truth)} of {len(keys)} rows differ: it was not planted, or mended"

    def look(self) -> Opinion:
        """Join what was planted with what was published so far, and approve what waits for it."""
        planted = [p for case in self.cases for p in case.planted]
        stories = self.stories()
        opinion = judge(planted, stories, self.was_late)
        by_planting = {id(f.planted): f for f in opinion.found}
        incidents = {s.incident_id for s in stories if s.is_incident}
        for case in self.cases:
            case.found = [by_planting[id(p)] for p in case.planted]
            case.incident_seen = case.incident_seen or (
                case.damage.incident
                and any(f.story and f.story.incident_id and f.story.incident_id in incidents for f in case.found)
            )
        self._say_yes()
        return opinion

    def _say_yes(self) -> None:
        """Approve only what belongs to a damage of ours that is known to need it."""
        waiting = [
            f.story.waiting_command
            for case in self.cases
            if case.damage.needs_approval
            for f in case.found
            if f.story and f.story.waiting_command and f.story.waiting_command not in self._approved
        ]
        commands = [command for command in waiting if command]
        if commands:
            self.approve(commands)
            self._approved.update(commands)

    def follow(self, seconds: float, tell: Callable[[], None]) -> Opinion:
        """Look until every case is over or time is up."""
        until = time.monotonic() + seconds
        while True:
            self.check()
            opinion = self.look()
            tell()
            if all(case.is_over for case in self.cases) or time.monotonic() > until:
                return opinion
            time.sleep(0.25)


@dataclass(frozen=True, slots=True)
class Bars:
    """What the times of detection are held to: each within the window + 10 s, the median within the window + 5 s."""

    window_of: Callable[[str], float]

    def faults(self, cases: Sequence[Case]) -> list[str]:
        """Say which times are over the bar."""
        said, over = [], []
        for case in cases:
            detected = case.detected_after_s
            if detected is None:
                continue
            window = self.window_of(case.damage.entity)
            over.append(detected - window)
            if detected > window + 10:
                said.append(f"{case.damage.name}: detected after {detected:.1f} s, with a window of {window:g} s")
        if over and median(over) > 5:  # noqa: PLR2004 - the bar
            said.append(f"the median of detection is {median(over):.1f} s past the window")
        return said
