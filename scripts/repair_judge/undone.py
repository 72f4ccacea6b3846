"""The judgement on a target after all repairs were undone: it is what it was, value by value in every column.

Excepted is `story`, which the database itself keeps. A row that the application wrote stays as the application left it,
and so does the authority.
"""

from __future__ import annotations

from collections.abc import Sequence

from repair_judge.evidence import Evidence, Told
from repair_judge.judge import Judgement, only_end, untouched
from repair_judge.story import Repair, Side

LEFT_AS_IT_IS = Told("refused", "row_moved")
DONE = Told("applied", "")


def judge_undone(
    repairs: Sequence[Repair], before: Evidence, repaired: Evidence, after: Evidence, asked: int
) -> Judgement:
    """Compare; `repaired` is what was judged before the undo, and `asked` how many repairs the command undid."""
    judgement = Judgement()
    _outcomes(judgement, repairs, repaired, after, asked)
    _rows(judgement, repairs, before, repaired, after)
    others = untouched(before.target, after.target, {repair.number for repair in repairs})
    for name, numbers in (
        ("the target", others),
        ("the authority", untouched(repaired.authority, after.authority)),
        ("a table of no contract", untouched(repaired.elsewhere, after.elsewhere)),
    ):
        for number in numbers:
            judgement.fault("a row that is none of its business", f"row {number} of {name}, after the undo")
    return judgement


def _outcomes(judgement: Judgement, repairs: Sequence[Repair], repaired: Evidence, after: Evidence, asked: int) -> None:
    ids = {repair.command_id for repair in repairs}
    undone = {command_id: said for command_id, said in after.outcomes.items() if command_id not in ids}
    if len(undone) != asked:
        judgement.fault("a missing outcome", f"{asked} repairs were to be undone, and {len(undone)} have an outcome")
    for command_id, said in undone.items():
        end = only_end(judgement, f"undo {command_id}", said)
        if end is not None:
            judgement.outcomes[" ".join(filter(None, (end.outcome, end.reason)))] += 1
            if end not in {DONE, LEFT_AS_IT_IS}:
                judgement.fault("a wrong outcome", f"undo {command_id}: {end.outcome} {end.reason}")
    refused = judgement.outcomes[f"{LEFT_AS_IT_IS.outcome} {LEFT_AS_IT_IS.reason}"]
    stay = sum(_stays(repair, repaired) for repair in repairs)
    if refused != stay:
        judgement.fault("a wrong outcome", f"{refused} undos were refused, and {stay} rows had moved on")


def _rows(
    judgement: Judgement, repairs: Sequence[Repair], before: Evidence, repaired: Evidence, after: Evidence
) -> None:
    for repair in repairs:
        is_written = repair.last(Side.TARGET) is not None
        was = (repaired if is_written else before).target.get(repair.number)
        now = after.target.get(repair.number)
        if (now.row if now else None) != (was.row if was else None):
            what = "a lost update" if is_written else "a row that is not what it was"
            judgement.fault(what, f"row {repair.number}, {repair.kind.value}, after the undo")


def _stays(repair: Repair, repaired: Evidence) -> bool:
    """Tell whether a repair stands in the ledger, and its row is not what it left any more."""
    kinds = {entry.kind for entry in repaired.ledger.get(repair.command_id, ())}
    return "command" in kinds and ("inverse" in kinds or repair.last(Side.TARGET) is not None)
