"""Judge findings again, from nothing but what they cite.

What cannot be judged again says so: a repair's verification or dispute rests on the ledger, an incident on its rows'
own records, an aggregate on all rows of its group. Everything else must come out the same, or the record is wrong: it
was forged, damaged, or written by a rule that has changed without its version.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from app.core.command import command_id
from app.core.finding import NEXT_STAGES, DriftKind, Evidence, Finding, Shown, Stage, Verdict, drift_id
from app.core.position import epoch_of
from app.core.verdict import EVER, OPEN, Stay, agreed_again_at, judge, kind_of, naming_position, state_at, vouched_until


class Again(Enum):
    """How a verdict came out when it was judged again."""

    SAME = "same"
    DIFFERENT = "different"
    NOT_JUDGED = "not_judged"  # it rests on more than the stores' logs


_NOT_OF_LOGS = frozenset({Stage.DISPUTED, Stage.VERIFIED, Stage.REFUTED, Stage.NOTED})


@dataclass(frozen=True, slots=True)
class Recomputed:
    """One finding judged again; `why` says what came out otherwise."""

    again: Again
    why: str = ""


def stays_of(shown: Iterable[Shown]) -> list[Stay]:
    """Return cited states as the rule takes them."""
    return [
        Stay(
            s.digest,
            s.position,
            EVER if s.since_ms is None else s.since_ms,
            OPEN if s.until_ms is None else s.until_ms,
            s.partition,
            s.offset,
            s.transaction,
        )
        for s in shown
    ]


def _common_ms(evidence: Evidence) -> int:
    return min(evidence.authority_watermark_ms, evidence.replica_watermark_ms)


def _confirmed_faults(finding: Finding, canonical_key: bytes | None) -> list[str]:
    evidence = finding.evidence
    truth, shown = stays_of(evidence.authority_stays), stays_of(evidence.replica_stays)
    vouched_ms = evidence.judged_at_ms - evidence.window_ms
    judged = judge(shown, truth, _common_ms(evidence), evidence.window_ms, vouched_ms)
    faults = []
    if judged.verdict is not Verdict.DRIFT:
        faults.append(f"the verdict comes out as {judged.verdict.value}")
    elif judged.judged_at_ms != evidence.judged_at_ms:
        faults.append(f"the deadline comes out {judged.judged_at_ms - evidence.judged_at_ms} ms later")
    at_deadline, true_then = state_at(shown, evidence.judged_at_ms), state_at(truth, evidence.judged_at_ms)
    past = [s.digest for s in truth if s.position < true_then.position]
    kind = kind_of(at_deadline.digest, true_then.digest, past)
    # Which older states the authority has had is remembered for longer than it is cited.
    is_known_stale = finding.kind is DriftKind.STALE and kind is DriftKind.DIFFERENT
    if kind is not finding.kind and not is_known_stale:
        faults.append(f"the kind comes out as {kind.value}")
    if canonical_key is not None:
        named = drift_id(
            finding.contract_version,
            finding.entity,
            canonical_key,
            finding.replica,
            epoch_of(naming_position(at_deadline)),
            vouched_ms,
            naming_position(at_deadline),
        )
        if named != finding.finding_id:
            faults.append("the finding's id comes out otherwise")
    return faults


def _overtaken_faults(finding: Finding) -> list[str]:
    evidence = finding.evidence
    truth, shown = stays_of(evidence.authority_stays), stays_of(evidence.replica_stays)
    faults = []
    if _is_over(evidence, truth, shown):
        faults.append("the drift was over")
    # Told again after a restart it cites what has come since, too.
    newest = tuple(_newest_known(stays, _common_ms(evidence)).digest for stays in (shown, truth))
    if newest != (finding.expected_digest, finding.intended_digest):
        faults.append("expected and intended digest are not the newest states")
    return faults


def _resolved_faults(evidence: Evidence) -> list[str]:
    truth, shown = stays_of(evidence.authority_stays), stays_of(evidence.replica_stays)
    vouched_ms = evidence.judged_at_ms - evidence.window_ms
    # It may have drifted again since: what counts is that it agreed.
    agreed = agreed_again_at(shown, truth, evidence.window_ms, _common_ms(evidence), vouched_ms) is not None
    return [] if agreed else ["the drift was not over"]


def _newest_known(stays: list[Stay], common_ms: int) -> Stay:
    return next((stay for stay in reversed(stays) if stay.latest_ms <= common_ms), stays[0])


def _is_over(evidence: Evidence, truth: list[Stay], shown: list[Stay]) -> bool:
    common_ms = _common_ms(evidence)
    return common_ms <= vouched_until(shown, truth, common_ms, common_ms, EVER) + evidence.window_ms


def recompute(finding: Finding, canonical_key: bytes | None = None) -> Recomputed:
    """Judge a finding again. With the row's key, its id is computed again too."""
    evidence = finding.evidence
    if finding.incident_rows or finding.stage in _NOT_OF_LOGS or finding.kind is DriftKind.AGGREGATE:
        return Recomputed(Again.NOT_JUDGED)
    if not evidence.authority_stays or not evidence.replica_stays:
        return Recomputed(Again.DIFFERENT, "it cites no states")
    match finding.stage:
        case Stage.CONFIRMED:
            faults = _confirmed_faults(finding, canonical_key)
        case Stage.OVERTAKEN:
            faults = _overtaken_faults(finding)
        case _:
            faults = _resolved_faults(evidence)
    return Recomputed(Again.DIFFERENT if faults else Again.SAME, "; ".join(faults))


@dataclass(slots=True)
class Lives:
    """The steps of drifts in the order of their records, held against the table of what may follow what.

    `is_whole` says that the records begin with the first there ever was: then no life begins in its middle.
    """

    is_whole: bool = True
    _stage: dict[bytes, Stage] = field(default_factory=dict)
    _seen: set[tuple[bytes, Stage]] = field(default_factory=set)
    _commands: dict[bytes, set[bytes]] = field(default_factory=dict)

    def follow(self, finding: Finding) -> str:
        """Take the next record of a drift; return what is wrong with it, empty if nothing is.

        After a crash steps are told again from an earlier one on; a step that was seen says nothing new.
        """
        if finding.incident_rows or finding.stage is Stage.NOTED:
            return ""
        drift = finding.finding_id
        if finding.stage is Stage.OVERTAKEN:
            named = command_id(drift, finding.replica, finding.expected_digest, finding.intended_digest)
            self._commands.setdefault(drift, set()).add(named)
        if (drift, finding.stage) in self._seen:
            return ""
        self._seen.add((drift, finding.stage))
        before = self._stage.get(drift)
        self._stage[drift] = finding.stage
        if before is None:
            begins_well = finding.stage is Stage.CONFIRMED or not self.is_whole
            return "" if begins_well else f"its life begins with {finding.stage.value}"
        if finding.stage not in NEXT_STAGES[before]:
            return f"{finding.stage.value} cannot follow {before.value}"
        is_known = finding.command_id in self._commands.get(drift, set()) or not self.is_whole
        if finding.stage is Stage.VERIFIED and not is_known:
            return "it is verified by a command that its drift does not lead to"
        return ""
