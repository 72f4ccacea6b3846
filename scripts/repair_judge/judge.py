"""The judgement on one target: each repair's outcome, its ledger rows, its row, and everything that was no repair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from repair_judge.evidence import Entry, Evidence, Held, Table, Told
from repair_judge.story import COVERED, Kind, Repair, Row, Side
from repair_judge.ways import ways_of

FAULTS_TOLD: Final = 20
FINAL: Final = frozenset({"applied", "refused", "inverted"})
PASSING: Final = frozenset({"row_locked"})
"""Why the drill's commands may be held: the application was at the row at that very moment."""


@dataclass
class Judgement:
    """What was judged and every fault that was found; of many alike the first are told and all are counted."""

    outcomes: Counter[str] = field(default_factory=Counter)
    writes: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def fault(self, what: str, told: str) -> None:
        """Note one fault; `what` is its kind."""
        self.counts[what] += 1
        if self.counts[what] <= FAULTS_TOLD:
            self.faults.append(f"{what}: {told}")


def judge(repairs: Sequence[Repair], before: Evidence, after: Evidence) -> Judgement:
    """Compare what must be with what is; `before` was read when the damage was done and no repair was begun."""
    judgement = Judgement()
    for repair in repairs:
        judgement.writes += len(repair.writes)
        end = _outcome(judgement, repair, after.outcomes.get(repair.command_id, []))
        if end is not None:
            judgement.outcomes[" ".join(filter(None, (end.outcome, end.reason)))] += 1
            _ledger(judgement, repair, end, after.ledger.get(repair.command_id, []))
            _row(judgement, repair, end, after.target.get(repair.number))
        _authority(judgement, repair, after.authority.get(repair.number))
    ids, numbers = {r.command_id for r in repairs}, {r.number for r in repairs}
    for name, said in (("ledger row", after.ledger), ("outcome", after.outcomes)):
        for unknown in said.keys() - ids:
            judgement.fault(f"a {name} of no command", unknown)
    for name, was, now in (
        ("the target", before.target, after.target),
        ("the authority", before.authority, after.authority),
        ("a table of no contract", before.elsewhere, after.elsewhere),
    ):
        others = numbers if name != "a table of no contract" else set()
        for number in untouched(was, now, others):
            judgement.fault("a row that is none of its business", f"row {number} of {name} is not as it was")
    return judgement


def untouched(was: Table, now: Table, but: Iterable[int] = ()) -> list[int]:
    """Return the rows that should not have changed and did, whoever wrote them."""
    return sorted(number for number in (was.keys() | now.keys()) - set(but) if was.get(number) != now.get(number))


def only_end(judgement: Judgement, where: str, said: Sequence[Told]) -> Told | None:
    """Return the one final outcome that was said, however often; anything else is a fault, and None where several."""
    for held in {told.reason for told in said if told.outcome not in FINAL} - PASSING:
        judgement.fault("held for no good reason", f"{where}: {held}")
    ends = {told for told in said if told.outcome in FINAL}
    if not ends:
        judgement.fault("a missing outcome", where)
    elif len(ends) > 1:
        told = " and ".join(sorted(f"{end.outcome} {end.reason}".strip() for end in ends))
        judgement.fault("two outcomes of one command", f"{where}: {told}")
    return ends.pop() if len(ends) == 1 else None


def _where(repair: Repair) -> str:
    writes = ", ".join(f"{write.side.value} written at {write.step}" for write in repair.writes)
    return f"row {repair.number}, {repair.kind.value}{f', {writes}' if writes else ''}"


def _outcome(judgement: Judgement, repair: Repair, said: Sequence[Told]) -> Told | None:
    end = only_end(judgement, _where(repair), said)
    if end is not None and end not in ways_of(repair):
        must = " or ".join(sorted(f"{way.outcome} {way.reason}".strip() for way in ways_of(repair)))
        judgement.fault("a wrong outcome", f"{_where(repair)}: {end.outcome} {end.reason}, and must be {must}")
    return end


def _ledger(judgement: Judgement, repair: Repair, end: Told, entries: Sequence[Entry]) -> None:
    """Hold the ledger against the outcome: what was written and what was refused has its row, once."""
    if end.outcome == "refused":
        wanted = [Entry("refusal", "refused", end.reason)]
    else:
        wanted = [Entry("command", "applied", "")]
        if repair.kind is Kind.MISSING:
            wanted.append(Entry("check", end.outcome, end.reason))
        if end.outcome == "inverted":
            wanted.append(Entry("inverse", "applied", ""))
    if Counter(entries) != Counter(wanted):
        shown = ", ".join(f"{entry.kind} {entry.outcome} {entry.reason}".strip() for entry in entries) or "nothing"
        judgement.fault("a ledger that says otherwise", f"{_where(repair)}: {end.outcome}, and it has {shown}")


def _row(judgement: Judgement, repair: Repair, end: Told, held: Held | None) -> None:
    effects = held.story.count("a") if held else 0
    # A row that is gone has no story, and one that came after it does not tell of it.
    wanted = int(end.outcome == "applied" and repair.kind is not Kind.EXTRA)
    if effects > wanted:
        what = "a double effect" if wanted else "an effect without its outcome"
        judgement.fault(what, f"{_where(repair)}: {end.outcome}, and written {effects} times by the applier")
    elif effects < wanted:
        judgement.fault("an outcome without its effect", f"{_where(repair)}: {end.outcome}")
    last = repair.last(Side.TARGET)
    if last is not None:
        if held is None or held.row[:COVERED] != last.row[:COVERED] or not held.story.endswith("w"):
            judgement.fault("a lost update", f"{_where(repair)}: {end.outcome}; the application's values are gone")
        return
    must = _left_by(repair, end)
    if (held.row if held else None) != must:
        judgement.fault("a wrong row", f"{_where(repair)}: {end.outcome}, and the row is another one")


def _left_by(repair: Repair, end: Told) -> Row | None:
    """Return what a repair leaves where the application did not write: columns of no contract stay as they were."""
    if end.outcome == "refused":
        return repair.before
    if end.outcome == "inverted" or repair.truth is None:
        return None
    others = repair.before[COVERED:] if repair.before else (None, None)
    return (*repair.truth[:COVERED], *others)


def _authority(judgement: Judgement, repair: Repair, held: Held | None) -> None:
    last = repair.last(Side.AUTHORITY)
    must = last.row[:COVERED] if last else repair.truth[:COVERED] if repair.truth else None
    if (held.row[:COVERED] if held else None) != must or (held and "a" in held.story):
        judgement.fault("an authority that was written", _where(repair))
