"""The demo's course: all damages first, then what must stay quiet; and the judge's word on both."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from judge_parts.opinion import Opinion, judge
from judge_parts.rows import differences, ledger_rows
from judge_parts.stories import Story

from demo_parts.campaign import Bars, Campaign, Case
from demo_parts.damages import Damage, canary, damages
from demo_parts.pipeline import await_condition
from demo_parts.quiet import QUIET_CASES, QuietCase, QuietResult
from demo_parts.running import Running
from demo_parts.shop import PRODUCTS, tables_of

# What a damage may take beyond its window: detection, approval, repair, verification.
PATIENCE_S = 60.0
# What somebody else's pipeline may need to come up with what it has missed.
CATCH_UP_S = 60.0


@dataclass
class Report:
    """What came of it."""

    cases: list[Case] = field(default_factory=list)
    quiet: list[QuietResult] = field(default_factory=list)
    false_alarms: list[Story] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    setup_s: float = 0.0

    def as_json(self) -> dict[str, object]:
        """Return the shape that `--json` writes."""
        return {
            "damages": [
                {
                    "name": case.damage.name,
                    "kind": case.kind,
                    "expected_kind": case.damage.kinds,
                    "detected_after_s": _rounded(case.detected_after_s),
                    "repaired_after_s": _rounded(case.repaired_after_s),
                    "verified_after_s": _rounded(case.verified_after_s),
                }
                for case in self.cases
            ],
            "quiet": [
                {"name": q.name, "false_alarms": q.false_alarms, "unknown_at_end": q.unknown_at_end} for q in self.quiet
            ],
            "false_alarms": len(self.false_alarms),
            "setup_s": _rounded(self.setup_s),
        }

    def write(self, file: Path) -> None:
        """Write the JSON file."""
        file.write_text(json.dumps(self.as_json(), indent=2) + "\n", encoding="utf-8")


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)


def check_names(names: Sequence[str], *, is_reversed: bool) -> None:
    """Raise `LookupError` for a name that no case of this direction has."""
    known = [*(d.name for d in _damages(is_reversed=is_reversed)), *(q.name for q in QUIET_CASES)]
    if unknown := sorted(set(names).difference(known)):
        raise LookupError(f"no case is named {', '.join(unknown)}; there are {', '.join(known)}")


def choose(running: Running, only: Sequence[str]) -> list[Damage]:
    """Return the damages that this direction has, or those that were asked for by name."""
    return [d for d in _damages(is_reversed=running.shop.reversed) if not only or d.name in only]


def _damages(*, is_reversed: bool) -> list[Damage]:
    return [d for d in damages(PRODUCTS) if not (d.only_forward and is_reversed)]


def perform_damages(
    running: Running, chosen: Sequence[Damage], show: Callable[[Sequence[Case], int], None], say: Callable[[str], None]
) -> tuple[Campaign, Opinion]:
    """Plant the damages one after another and follow all of them to their end."""
    campaign = Campaign(running.shop, running.stories, running.approve, running.was_late, running.check)
    cases = campaign.prepare(chosen)
    # What the damages rest on must be agreed before they are planted, or one window would cover both.
    time.sleep(1)
    for case in cases:
        if case.damage.loses_a_change:
            # The sink stands still for a moment: the load does too, so that only what is meant to be lost is late.
            with running.load.held():
                campaign.plant(case)
        else:
            campaign.plant(case)
        say(f"planted: {case.damage.name.replace('_', ' ')}")
        opinion = campaign.look()
        show(cases, len(opinion.false_alarms))
    slowest = max(running.window_of(d.entity) for d in chosen)
    opinion = campaign.follow(slowest + PATIENCE_S, lambda: show(cases, 0))
    return campaign, opinion


def judge_damages(running: Running, campaign: Campaign, *, bars: bool = True) -> list[str]:
    """Say everything that is wrong after the damages: missed, misnamed, not repaired, slow, or repaired twice."""
    faults = [fault for case in campaign.cases for fault in case.faults()]
    if bars:
        faults += Bars(running.window_of).faults(campaign.cases)
    faults += _ledger_faults(running, campaign)
    return faults


def _ledger_faults(running: Running, campaign: Campaign) -> list[str]:
    """Count the copy's own ledger: one applied command for each repaired row, and no other."""
    applied: dict[str, int] = {}
    for row in ledger_rows(running.places.admin(running.shop.copy.kind)):
        if row["kind"] == "command" and row["outcome"] == "applied":
            applied[row["finding_id"]] = applied.get(row["finding_id"], 0) + 1
    faults = []
    for case in campaign.cases:
        for found in case.found:
            if found.story is None or found.story.applied_at is None:
                continue
            times = applied.get(found.story.finding_id.hex(), 0)
            if times != 1:
                faults.append(f"{case.damage.name}: {times} ledger rows for the repair of row {found.planted.key}")
    return faults


def judge_rows(running: Running, campaign: Campaign | None = None) -> list[str]:
    """Compare both databases row by row; the load must be still. Only rows whose repair was refused may differ."""
    refused = {
        (case.damage.entity, f.planted.key)
        for case in (campaign.cases if campaign else ())
        for f in case.found
        if f.story and f.story.refusal and case.damage.may_be_refused
    }
    faults = []
    for table in tables_of(running.shop.origin):
        left = [d for d in differences(running.shop.origin, running.shop.copy, table) if (table, d.key) not in refused]
        if left:
            some = ", ".join(f"{d.key} {d.kind} {'/'.join(d.columns)}".strip() for d in left[:5])
            faults.append(f"{table}: {len(left)} rows differ at the end: {some}")
    return faults


def perform_quiet(running: Running, case: QuietCase, number: int) -> QuietResult:
    """Disturb, wait until all is proven again, plant one damage and wait for it; count what was raised for nothing."""
    result = QuietResult(case.name)
    before = {story.finding_id for story in running.stories()}
    try:
        case.disturb(running)
        running.await_proven(case.settles_s)
        # A pipeline that has died makes all that follows late, this case and the next ones.
        result.problem = "; ".join(f"{name}: {why}" for name, why in running.shop.pipeline.failures().items())
    except Exception as error:  # noqa: BLE001 - a case that goes wrong is told; the next ones are still tried
        result.problem = f"{type(error).__name__}: {error}"
    if not running.load.running:
        running.load.start()
    result.unknown_at_end = sum(sum(health.unknown.values()) for health in running.health().values())
    raised = [s for s in running.stories() if s.finding_id not in before and not s.is_incident]
    result.canary_after_s = _find_canary(running, number)
    # Judged last: by now every change that bears on what was raised has been read.
    raised_before = {story.finding_id for story in raised}
    raised = [story for story in running.stories() if story.finding_id in raised_before]
    opinion = judge((), raised, running.was_late)
    result.false_alarms = len(opinion.false_alarms) + len(opinion.refuted)
    if opinion.false_alarms:
        some = ", ".join(f"{s.entity} {s.key} {s.kind}" for s in opinion.false_alarms[:3])
        result.problem = result.problem or f"raised for nothing: {some}"
    if case.is_late and not opinion.really_late:
        result.problem = result.problem or "the copy was late for longer than its window, and nothing was said"
    result.really_late = len(opinion.really_late)
    result.problem = result.problem or late_problem(running, opinion.really_late)
    return result


def late_problem(running: Running, late: Sequence[Story]) -> str:
    """Say what went wrong with what was only late: it must resolve once the copy has it, and must not be repaired."""
    mine = {s.finding_id for s in late}

    def open_still() -> list[Story]:
        return [s for s in running.stories() if s.finding_id in mine and "resolved" not in s.stages]

    problems = []
    try:
        await_condition(lambda: not open_still(), CATCH_UP_S, "what was late to resolve", every=0.5)
    except TimeoutError:
        problems.append(f"{len(open_still())} drifts of the late copy did not resolve within {CATCH_UP_S:.0f} s")
    commands = [
        r for r in running.topics.records(running.deployment.topic("repairs")) if bytes(r.value["finding_id"]) in mine
    ]
    if commands:
        problems.append(f"{len(commands)} repairs were planned for what was only late")
    return "; ".join(problems)


def _find_canary(running: Running, number: int) -> float | None:
    campaign = Campaign(running.shop, running.stories, running.approve, running.was_late, running.check)
    damage = canary(number)
    (case,) = campaign.prepare([damage])
    campaign.plant(case)
    campaign.follow(running.window_of(damage.entity) + PATIENCE_S, lambda: None)
    return case.detected_after_s


def quiet_cases(only: Sequence[str]) -> list[tuple[int, QuietCase]]:
    """Return the quiet cases, or those that were asked for, with the numbers of their planted damages."""
    return [(n, case) for n, case in enumerate(QUIET_CASES) if not only or case.name in only]
