"""One row's verdicts as its stores' logs go on: confirmed, overtaken, resolved, verified. Keeps no clock.

`judge_row` is called for a row that is not settled whenever the common time has moved. It returns the steps that are
to be told, and changes the state in place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from app.core.command import command_id
from app.core.contract import EntityContract, Replica
from app.core.finding import NEXT_STAGES, DriftKind, Stage, UnknownReason, Verdict, drift_id
from app.core.keystate import KeyState, OpenDrift, ReplicaState, Side
from app.core.limits import ECHO_GRACE_MS, PAST_STATES, STAYS_WORTH_KEEPING
from app.core.position import SNAPSHOT, epoch_of, phase_of, place_of
from app.core.timeline import Timeline
from app.core.verdict import (
    ABSENT,
    EVER,
    OPEN,
    Judgement,
    Stay,
    agreed_again_at,
    judge,
    kind_of,
    naming_position,
    reason_of,
    state_at,
    stay_of,
    surely_followed,
    vouched_until,
)

_PLANNED = frozenset({Stage.OVERTAKEN, Stage.DISPUTED})


@dataclass(frozen=True, slots=True)
class Step:
    """A drift's record to be sent: the replica's number and the stage."""

    replica: int
    stage: Stage


@dataclass(frozen=True, slots=True)
class Told:
    """What judging one row came to: steps to send, whether the state changed, and how each replica stands."""

    steps: tuple[Step, ...]
    changed: bool
    settled: bool  # nothing is open: the row need not be looked at until it changes
    unknown: tuple[UnknownReason | None, ...]  # per replica


class _Known(NamedTuple):
    """What a pair of stores is judged by: from and up to which common time, and how far its pipeline has come."""

    from_ms: int
    through_ms: int
    pipeline_reached: bytes


def place_in_time(side: Side, timeline: Timeline) -> bool:
    """Give the stays the brackets that are known by now; True if one changed."""
    changed = False
    for i, stay in enumerate(side.stays):
        if stay.latest_ms != OPEN:
            continue
        earliest_ms, latest_ms = timeline.bracket(stay.position)
        if phase_of(stay.position) == SNAPSHOT:
            earliest_ms = EVER  # a snapshot's state has held since unknown times
        if (earliest_ms, latest_ms) != (stay.earliest_ms, stay.latest_ms):
            side.stays[i] = stay_of((stay.digest, stay.position, earliest_ms, latest_ms, *stay[4:]))
            changed = True
    return changed


def collapse(state: KeyState, replicas: Iterable[int]) -> None:
    """Forget the history of a row in the authority and in the replicas that agree with it for good.

    Since when the authority shows its state is forgotten too, unless a replica was there before: what the authority
    went through meanwhile is still to come to it, and to be left again (`_has_shown`).
    """
    truth, waits = state.sides[0], False
    if len(truth.stays) > 1:
        _remember(state, truth.stays[:-1])
    newest = truth.stays[-1]
    for i in replicas:
        side = state.sides[i + 1]
        waits = waits or _was_there_before(side.stays[-1], newest)
        _keep_newest(side)
    _keep_newest(truth)
    if waits:
        truth.stays = [newest]


def _was_there_before(stay: Stay, newest: Stay) -> bool:
    """Whether a replica was surely in a state before the authority came to its newest."""
    return stay.latest_ms < newest.earliest_ms


def _keep_newest(side: Side) -> None:
    newest = side.stays[-1]
    if newest.digest == ABSENT:
        side.groups = b""
    if len(side.stays) > 1 or newest.latest_ms != EVER:
        digest, position, _, _, partition, offset, transaction = newest
        side.stays = [stay_of((digest, position, EVER, EVER, partition, offset, transaction))]


def trim(state: KeyState, window_ms: int, common_ms: int) -> bool:
    """Drop the states of a row with one replica before the newest that both stores showed, if they followed surely.

    Both logs must be known beyond that state, so that what the authority showed until then is read. What was dropped
    can show no drift (`surely_followed`), and what comes is judged from the state that they shared. False: none was.
    """
    truth, shown = state.sides[0].stays, state.sides[1].stays
    known = {s.digest: k for k, s in enumerate(truth) if s.latest_ms <= common_ms and len(s.digest) > 1}
    both = (k for k in range(len(shown) - 1, 0, -1) if shown[k].latest_ms < common_ms and shown[k].digest in known)
    there = next(both, 0)
    then = known.get(shown[there].digest, 0)
    replica = state.replicas[0]
    left = there + 1 < len(shown) and shown[there + 1].earliest_ms < truth[then].latest_ms
    if not there or left:
        return False
    if not surely_followed(shown[: there + 1], truth[: then + 1], window_ms, replica.vouched_until_ms):
        return False
    # What is dropped still vouches: what the replica showed before the shared state, the authority may show after it.
    verdict = judge(shown, truth, common_ms, window_ms, replica.vouched_until_ms)
    if verdict.verdict is Verdict.DRIFT:
        return False
    replica.vouched_until_ms = verdict.vouched_until_ms
    _remember(state, truth[:then])
    waits = _was_there_before(shown[there], truth[then])
    truth[: then + 1] = [truth[then] if waits else truth[then]._replace(earliest_ms=EVER, latest_ms=EVER)]
    shown[: there + 1] = [shown[there]._replace(earliest_ms=EVER, latest_ms=EVER)]
    return True


def judge_row(
    state: KeyState,
    canonical_key: bytes,
    contract: EntityContract,
    common_ms: list[int | None],
    base_ms: list[int | None],
    pipeline_reached: list[bytes],
) -> Told:
    """Judge every replica of a row at its pair's common time (None: not covered, nothing is said)."""
    steps: list[Step] = []
    changed = False
    judged = [i for i, from_ms in enumerate(base_ms) if from_ms is not None]
    settled = bool(judged)
    unknown: list[UnknownReason | None] = [None] * len(base_ms)
    for i, replica in enumerate(state.replicas):
        watermark_ms, from_ms = common_ms[i], base_ms[i]
        if watermark_ms is None or from_ms is None:
            settled = settled and from_ms is None and replica.drift is None
            continue
        known = _Known(from_ms, watermark_ms, pipeline_reached[i])
        begin(replica, from_ms)
        before_ms, steps_before = replica.vouched_until_ms, len(steps)
        verdict = _judge_replica(state, i, canonical_key, contract, known, steps)
        settled = settled and verdict is not None and verdict.verdict is Verdict.AGREE and replica.drift is None
        unknown[i] = verdict.reason if verdict is not None else _why_disputed(replica)
        changed = changed or len(steps) > steps_before or replica.vouched_until_ms != before_ms
    if settled:
        collapse(state, judged)
    elif judged:
        _prune(state, judged, common_ms, contract)
    return Told(tuple(steps), changed, settled, tuple(unknown))


def _judge_replica(
    state: KeyState,
    i: int,
    canonical_key: bytes,
    contract: EntityContract,
    known: _Known,
    steps: list[Step],
) -> Judgement | None:
    """Follow a replica's drift, and judge its row unless one is open (None); what is to be told is added to `steps`."""
    replica, terms, watermark_ms = state.replicas[i], contract.replicas[i], known.through_ms
    if replica.drift is not None and not replica.drift.ended_at_ms:
        steps.extend(_follow(state, i, terms, known))
    drift = replica.drift
    if drift is not None and drift.ended_at_ms and drift.acknowledged and not _awaits_echo(drift, watermark_ms):
        drift = replica.drift = None
    if drift is not None and not drift.ended_at_ms:
        return None
    begin(replica, known.from_ms)  # also where a drift of an earlier coverage was open until now
    authority, shown = state.sides[0], state.sides[i + 1]
    verdict = judge(shown.stays, authority.stays, watermark_ms, terms.window_ms, replica.vouched_until_ms)
    if verdict.verdict is not Verdict.DRIFT:
        replica.vouched_until_ms = verdict.vouched_until_ms
    elif drift is None or drift.acknowledged:
        replica.vouched_until_ms = verdict.vouched_until_ms
        _confirm(state, i, canonical_key, contract, verdict.judged_at_ms)
        steps.append(Step(i, Stage.CONFIRMED))
        steps.extend(_follow(state, i, terms, known))
    return verdict


def begin(replica: ReplicaState, from_ms: int) -> None:
    """Judge from the beginning of coverage on. It vouches for no row: an open drift stays so until the row agrees."""
    if replica.drift is None or replica.drift.ended_at_ms:
        replica.vouched_until_ms = max(replica.vouched_until_ms, from_ms)


def note_repair(state: KeyState, i: int, repaired_transaction: int) -> list[Step]:
    """Take in that the ledger row of this drift's repair was seen through CDC, in the target's transaction given."""
    drift = state.replicas[i].drift
    if drift is None or drift.stage is Stage.VERIFIED:
        return []
    drift.repaired_transaction = repaired_transaction
    return verify(state, i)


def note_refusal(state: KeyState, i: int, at: bytes) -> None:
    """Take in that the applier refused this drift's repair since it found another row, and where the log has that."""
    drift = state.replicas[i].drift
    if drift is not None and drift.stage is Stage.OVERTAKEN:
        drift.refused_at = at


def dispute(state: KeyState, i: int) -> list[Step]:
    """Hold a refusal against the replica's log, which is known beyond it, and tell `disputed` if the row stood still.

    Then what the applier read and what the log tells are digests of one row, and they are not the same.
    """
    drift = state.replicas[i].drift
    if drift is None:
        return []
    stood = [stay.position for stay in state.sides[i + 1].stays if stay.position <= drift.refused_at]
    drift.refused_at = b""
    if drift.stage is not Stage.OVERTAKEN or not stood or stood[-1] != drift.expected_position:
        return []
    _move(drift, Stage.DISPUTED)
    return [Step(i, Stage.DISPUTED)]


def _why_disputed(replica: ReplicaState) -> UnknownReason | None:
    disputed = replica.drift is not None and replica.drift.stage is Stage.DISPUTED
    return UnknownReason.DIGEST_MISMATCH if disputed else None


def verify(state: KeyState, i: int) -> list[Step]:
    """Tell `verified` once the intended state and the ledger row were seen in one transaction of the target."""
    drift = state.replicas[i].drift
    if drift is None or not drift.repaired_transaction or Stage.VERIFIED not in NEXT_STAGES[drift.stage]:
        return []
    seen = drift.told_transaction == drift.repaired_transaction or any(
        s.transaction == drift.repaired_transaction and s.digest == drift.intended_digest
        for s in state.sides[i + 1].stays
    )
    if not seen:
        return []
    _move(drift, Stage.VERIFIED)
    return [Step(i, Stage.VERIFIED)]


def _repaired_by(drift: OpenDrift, shown: Side) -> int:
    """Return the latest moment of the repair's own change; `OPEN` if it is not kept."""
    return next((s.latest_ms for s in shown.stays if s.transaction == drift.repaired_transaction), OPEN)


def _move(drift: OpenDrift, stage: Stage) -> None:
    if stage not in NEXT_STAGES[drift.stage]:
        raise ValueError(f"a drift cannot go from {drift.stage.value} to {stage.value}")
    drift.stage = stage
    drift.acknowledged = False


def _confirm(state: KeyState, i: int, canonical_key: bytes, contract: EntityContract, deadline_ms: int) -> None:
    replica, shown, truth = state.replicas[i], state.sides[i + 1], state.sides[0]
    at_deadline = state_at(shown.stays, deadline_ms)
    true_then = state_at(truth.stays, deadline_ms)
    past = state.past + [s.digest for s in truth.stays if s.position < true_then.position]
    kind = kind_of(at_deadline.digest, true_then.digest, past)
    replica.drift = OpenDrift(
        drift_id(
            contract.version,
            contract.entity,
            canonical_key,
            contract.replicas[i].store,
            epoch_of(naming_position(at_deadline)),
            replica.vouched_until_ms,
            naming_position(at_deadline),
        ),
        Stage.CONFIRMED,
        deadline_ms,
        kind.value,
        incident_id=incident_of(contract, i, at_deadline.position) if was_cut(at_deadline) else b"",
    )


def was_cut(stay: Stay) -> bool:
    """Whether a truncate made a row absent; what a snapshot did not show has no transaction."""
    return stay.digest == ABSENT and stay.offset < 0 and bool(stay.transaction)


def incident_of(contract: EntityContract, i: int, at: bytes) -> bytes:
    """Name the incident that all rows cut by one truncate of a replica share."""
    return drift_id(contract.version, contract.entity, b"", contract.replicas[i].store, epoch_of(at), 0, at)


def _follow(state: KeyState, i: int, terms: Replica, known: _Known) -> list[Step]:
    """Go on with a drift that was told: is it over, or may it be repaired."""
    replica, truth, shown = state.replicas[i], state.sides[0], state.sides[i + 1]
    drift, watermark_ms = replica.drift, known.through_ms
    # After a restart, time may be behind what was judged: nothing is over before it has come there again.
    if drift is None or watermark_ms <= replica.vouched_until_ms + terms.window_ms:
        return []
    if drift.stage is Stage.VERIFIED and (repaired_ms := _repaired_by(drift, shown)) <= watermark_ms:
        # The repair ended it, whatever the row shows since: damage that came after it is a drift of its own.
        replica.vouched_until_ms = max(replica.vouched_until_ms, repaired_ms)
        drift.ended_at_ms = watermark_ms
        return []
    over = _vouch_on(replica, shown, truth, terms, watermark_ms)
    if drift.stage is Stage.VERIFIED:
        if over:
            drift.ended_at_ms = watermark_ms
        return []
    if over:
        # The row may have moved on since: the state that the repair left is what its echo will be held against.
        mended = next((s for s in reversed(shown.stays) if s.digest == drift.intended_digest), None)
        if mended is not None:
            drift.told_transaction = mended.transaction
        drift.ended_at_ms = watermark_ms
        told = verify(state, i)
        if told:
            return told
        _move(drift, Stage.RESOLVED)
        return [Step(i, Stage.RESOLVED)]
    if _overtaken(truth, shown, terms, known):
        expected, intended = shown.stays[-1].digest, truth.stays[-1].digest
        if drift.stage in _PLANNED and (drift.expected_digest, drift.intended_digest) == (expected, intended):
            return []
        drift.expected_digest, drift.intended_digest = expected, intended
        drift.expected_position, drift.refused_at = shown.stays[-1].position, b""
        drift.command_id = command_id(drift.drift_id, terms.store, expected, intended)
        drift.repaired_transaction = 0
        _move(drift, Stage.OVERTAKEN)
        return [Step(i, Stage.OVERTAKEN)]
    return []


def _vouch_on(replica: ReplicaState, shown: Side, truth: Side, terms: Replica, watermark_ms: int) -> bool:
    """Vouch for a row that had drifted up to where it agreed again, or up to now; tell whether it did.

    What it showed behind that moment is judged anew: it may be a drift of its own.
    """
    before_ms = replica.vouched_until_ms
    replica.vouched_until_ms = vouched_until(shown.stays, truth.stays, watermark_ms, watermark_ms, before_ms)
    if replica.vouched_until_ms == before_ms:
        return False
    over_ms = agreed_again_at(shown.stays, truth.stays, terms.window_ms, watermark_ms, before_ms)
    if over_ms is None:
        return False
    replica.vouched_until_ms = vouched_until(shown.stays, truth.stays, over_ms, over_ms, before_ms)
    return True


def _awaits_echo(drift: OpenDrift, watermark_ms: int) -> bool:
    """Whether a drift that is over may yet turn out to have been ended by a repair of ours."""
    return drift.stage is Stage.RESOLVED and bool(drift.command_id) and watermark_ms < drift.ended_at_ms + ECHO_GRACE_MS


def _overtaken(truth: Side, shown: Side, terms: Replica, known: _Known) -> bool:
    """Whether the pipeline will not bring the authority's newest change any more, so that it may be repaired."""
    newest, there = truth.stays[-1], shown.stays[-1]
    if newest.latest_ms > known.through_ms or there.latest_ms > known.through_ms:
        return False
    if reason_of(newest.digest) or reason_of(there.digest) or newest.digest == there.digest:
        return False
    if phase_of(newest.position) == SNAPSHOT:
        return True  # there never was such a change
    if _has_shown(shown, newest, known.from_ms):
        return True
    if terms.pipeline is not None:
        return known.pipeline_reached >= place_of(newest.position)
    return known.through_ms > newest.latest_ms + terms.quiet_for_ms


def _has_shown(shown: Side, newest: Stay, from_ms: int) -> bool:
    """Whether a replica came to the authority's newest state, was surely in it after that had begun, and has left it.

    One that was there before may never have shown what the authority went through on its way back.

    Vouching is no such proof: it favours the replica, which may have been in that state just before, for the last time.
    Nor is what it showed before it was judged, at `from_ms`: when the authority came to its state may be forgotten
    then, as another replica agreed with it.
    """
    return any(
        stay.digest == newest.digest
        and following.earliest_ms > max(newest.latest_ms, from_ms)
        and not _was_there_before(stay, newest)
        for stay, following in pairwise(shown.stays)
    )


def _remember(state: KeyState, stays: list[Stay]) -> None:
    known = [stay.digest for stay in stays if len(stay.digest) > 1]
    if known:
        state.past = (state.past + known)[-PAST_STATES:]


def _prune(state: KeyState, judged: list[int], common_ms: list[int | None], contract: EntityContract) -> None:
    """Drop stays that no verdict can need: of a replica those judged for good, of the authority those past vouching."""
    if any(r.drift is not None and not r.drift.acknowledged for r in state.replicas):
        return  # its record may have to be sent again, with what it was judged on
    known = {i: ms for i in judged if (ms := common_ms[i]) is not None}
    if len(known) < len(judged):
        return
    truth = state.sides[0]
    if len(truth.stays) > STAYS_WORTH_KEEPING:
        vouched_ms = min(state.replicas[i].vouched_until_ms for i in judged)
        keep = 0
        while keep < len(truth.stays) - 1 and truth.stays[keep + 1].latest_ms <= vouched_ms:
            keep += 1
        _remember(state, truth.stays[:keep])
        del truth.stays[:keep]
    for i, watermark_ms in known.items():
        replica, side = state.replicas[i], state.sides[i + 1]
        if len(side.stays) > STAYS_WORTH_KEEPING:
            limit_ms = watermark_ms
            if replica.drift is None:
                limit_ms = min(limit_ms, replica.vouched_until_ms + contract.replicas[i].window_ms)
            keep = 0
            while keep < len(side.stays) - 1 and side.stays[keep + 1].latest_ms < limit_ms:
                keep += 1
            del side.stays[:keep]


def kind_named(drift: OpenDrift) -> DriftKind:
    """Return the kind of a drift that was told."""
    return DriftKind(drift.kind)
