"""What is held waits for its own reason, and is sent again as the very same command."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.core import planner
from app.core.command import (
    DISTRUSTED,
    WAITS_FOR_WORD,
    Action,
    CommandOutcome,
    Outcome,
    RefusalReason,
    RepairCommand,
)
from app.core.contract import EntityContract, Hours, RepairMode, RepairPolicy, Replica
from app.core.finding import DriftKind, Evidence, Finding, Stage, Verdict
from app.core.planner import Step
from app.core.planner_state import CommandState, Standing, decode, encode
from app.core.shard import UNFENCED, FenceTokens, shard_of
from tests.signatures import DEPLOYMENT, word_on


def contract_of(**policy_parts: Any) -> EntityContract:  # noqa: ANN401 - parts of a policy
    """Return a contract whose one replica may be repaired, deletes after a word."""
    policy = RepairPolicy(mode=RepairMode.APPLY, deletes=True, **policy_parts)
    replica = Replica(store="copy", window_ms=3_000, quiet_for_ms=30_000, repair=policy)
    return EntityContract("orders", 3, 1, (), (), "shop", (), (replica,))


def finding_of(number: int, *, intended: bytes = b"i" * 16, expected: bytes = b"e" * 16) -> Finding:
    """Return an overtaken drift."""
    return Finding(
        finding_id=bytes([number]) * 16,
        stage=Stage.OVERTAKEN,
        verdict=Verdict.DRIFT,
        kind=DriftKind.DIFFERENT,
        checker="key/1",
        contract_version=3,
        entity="orders",
        authority="shop",
        replica="copy",
        canonical_key=b"",
        shard=0,
        observations_partition=2,
        evidence=Evidence((), (), 0, 0, 0, 0, 0),
        expected_digest=expected,
        intended_digest=intended,
        authority_position=b"p" * 20,
        replica_position=b"",
        transaction=0,
        incident_id=b"",
        incident_rows=0,
        command_id=b"",
        trace_id=b"t" * 16,
    )


class Table:
    """A key-value table that takes the writes of each step, as the shell's does."""

    def __init__(self, **policy_parts: Any) -> None:  # noqa: ANN401 - parts of a policy
        self.rows: dict[bytes, bytes] = {}
        self.contract = contract_of(**policy_parts)
        self.tokens: dict[str, int] = {}
        self.shard_tokens: dict[str, int] = {}

    def _take(self, step: Step) -> list[RepairCommand]:
        for key, value in step.writes.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        return step.commands

    def find(self, finding: Finding, now: int = 0) -> list[RepairCommand]:
        """Let a finding happen."""
        token = self.tokens.get("copy", 0)
        found = planner.on_finding(self.rows.get, finding, self.contract, b"k" * 16, b"sealed", now, fence_token=token)
        return self._take(found)

    def end(self, command: RepairCommand, outcome: Outcome, reason: RefusalReason | None = None, now: int = 0) -> None:
        """Let an outcome happen, to which nothing is sent."""
        assert self.answer(command, outcome, reason, now) == []

    def answer(
        self, command: RepairCommand, outcome: Outcome, reason: RefusalReason | None, now: int = 0
    ) -> list[RepairCommand]:
        """Let an outcome happen; return what is sent to it."""
        what = CommandOutcome(
            command.command_id, command.finding_id, "orders", "copy", outcome, reason, 0, "", 2, b"", ""
        )
        return self._take(planner.on_outcome(self.rows.get, what, now))

    def say(self, command: RepairCommand, *, approved: bool = True, rehearses: bool = False) -> list[RepairCommand]:
        """Let a person's word happen."""
        word = word_on([command], approved=approved, rehearses=rehearses)
        return self._take(planner.on_approval(self.rows.get, word, DEPLOYMENT))

    def tick(self, now: int) -> list[RepairCommand]:
        """Let time pass."""
        start, end = planner.due_range(now)
        due = sorted(key for key in self.rows if start <= key < end)
        fences = FenceTokens(self.tokens, self.shard_tokens)
        return self._take(planner.on_time(self.rows.get, due, {"orders": self.contract}, now, fences))


def test_a_command_is_sent_again_under_the_policy_that_its_contract_has_by_now() -> None:
    """The applier holds what another policy planned; a person's word on that does not outlive it."""
    table = Table()
    before = table.contract.replicas[0].repair
    (command,) = table.find(finding_of(1, intended=b""))
    assert command.policy_id == before.policy_id
    table.end(command, Outcome.HELD, RefusalReason.NOT_APPROVED)
    assert table.say(command) == [command]
    table.contract = contract_of(persons=2)
    table.end(command, Outcome.HELD, RefusalReason.POLICY_DIFFERS)
    (again,) = table.tick(planner.RESEND_FIRST_MS)
    assert again == replace(command, policy_id=replace(before, persons=2).policy_id)
    table.end(again, Outcome.HELD, RefusalReason.NOT_APPROVED)
    assert table.say(command) == []
    assert table.say(again) == [again]


def test_a_command_that_is_fenced_off_is_sent_again_under_the_token_of_its_target() -> None:
    """The same repair of the same row; what is found later carries the token from the start."""
    table = Table()
    (command,) = table.find(finding_of(1))
    assert command.fence_token == 0
    table.end(command, Outcome.HELD, RefusalReason.FENCED)
    table.tokens = {"copy": 2, "other": 7}
    (again,) = table.tick(planner.RESEND_FIRST_MS)
    assert again == replace(command, fence_token=2)
    table.end(again, Outcome.APPLIED)
    assert [c.fence_token for c in table.find(finding_of(2))] == [2]


def test_a_command_goes_again_under_the_tokens_of_its_target_and_its_shard() -> None:
    """The shard's fence was raised alone; what is of another shard keeps its token."""
    table = Table()
    (command,) = table.find(finding_of(1))
    for shard, expected in (("orders/copy/9", 2), (shard_of(command), 7)):
        table.end(command, Outcome.HELD, RefusalReason.FENCED)
        table.tokens, table.shard_tokens = {"copy": 2}, {shard: 5}
        (again,) = table.tick(planner.RESEND_FIRST_MS)
        assert again == replace(command, fence_token=expected)
        table = Table()
        (command,) = table.find(finding_of(1))
    assert FenceTokens({"copy": 6}, {"orders/copy/2": 5}).of("orders", "copy", 2) == 11
    assert UNFENCED.of("orders", "copy", 2) == 0


def test_a_persons_word_does_not_outlive_a_fence() -> None:
    """What was approved is another command under another token: it is shown to people again."""
    table = Table()
    (command,) = table.find(finding_of(1, intended=b""))
    table.end(command, Outcome.HELD, RefusalReason.NOT_APPROVED)
    assert table.say(command) == [command]
    table.end(command, Outcome.HELD, RefusalReason.FENCED)
    table.tokens = {"copy": 2}
    (again,) = table.tick(planner.RESEND_FIRST_MS)
    assert again.fence_token == 2
    table.end(again, Outcome.HELD, RefusalReason.NOT_APPROVED)
    assert table.say(command) == []
    assert table.say(again) == [again]


@pytest.mark.parametrize("standing", list(Standing))
@pytest.mark.parametrize("action", list(Action))
def test_a_state_comes_back_as_it_was(standing: Standing, action: Action) -> None:
    """Packing and unpacking lose nothing."""
    (command,) = Table().find(finding_of(1))
    told = replace(command, columns=("amount", "ä"), source_transaction="77", planned_at_ms=1 << 41)
    state = CommandState(replace(told, action=action, needs_approval=True), standing, True, 3, 1 << 41)
    assert decode(encode(state)) == state


def test_a_state_that_an_earlier_version_kept_is_read() -> None:
    """It had no name of a policy; the columns stand behind where that is now."""
    (command,) = Table().find(finding_of(1))
    state = CommandState(replace(command, policy_id=b"", columns=("a", "b"), source_transaction="7"))
    packed = encode(state)
    at = packed.rindex(bytes(4) + (1).to_bytes(4, "big") + b"a")
    assert decode(bytes([2]) + packed[1:at] + packed[at + 4 :]) == state


def test_a_state_of_another_format_is_refused() -> None:
    """A byte of an unknown version is an error, not a guess."""
    with pytest.raises(ValueError, match="unknown format"):
        decode(b"\xff")


def test_a_finding_seen_twice_before_any_answer_is_sent_twice() -> None:
    """Nobody knows whether a command had left before a crash; the ledger makes the second one harmless."""
    table = Table()
    assert table.find(finding_of(1)) == table.find(finding_of(1), now=999)


def test_a_command_that_is_done_leaves_nothing_behind() -> None:
    """State is bounded by what is open."""
    table = Table()
    (command,) = table.find(finding_of(1))
    table.end(command, Outcome.APPLIED)
    assert table.rows == {}
    table.end(command, Outcome.APPLIED)
    assert table.rows == {}


def test_a_held_delete_goes_again_on_a_word() -> None:
    """Approval sends the same command; a second word or a second finding sends nothing."""
    table = Table()
    (command,) = table.find(finding_of(1, intended=b""))
    table.end(command, Outcome.HELD, RefusalReason.NOT_APPROVED)
    assert table.find(finding_of(1, intended=b"")) == []
    assert table.say(command) == [command]
    table.end(command, Outcome.APPLIED)
    assert table.say(command) == []
    assert table.rows == {}


def test_what_nobody_answered_in_time_is_offered_again() -> None:
    """A command that expired while it waited for a person gets a new term under the same id, until it is answered."""
    table = Table()
    (command,) = table.find(finding_of(1, intended=b""))
    table.end(command, Outcome.HELD, RefusalReason.NOT_APPROVED)
    assert table.tick(command.expires_at_ms - 1) == []
    (renewed,) = table.tick(command.expires_at_ms)
    assert renewed == replace(command, expires_at_ms=command.expires_at_ms + planner.RENEWED_MS)
    table.end(renewed, Outcome.HELD, RefusalReason.NOT_APPROVED)
    assert table.say(renewed) == [renewed]
    assert table.tick(10**15) == []
    table.end(renewed, Outcome.APPLIED)
    assert table.rows == {}


def test_a_word_faster_than_the_applier_is_not_lost() -> None:
    """Approved before the outcome says so: what the applier then still holds is sent again after a while."""
    table = Table()
    (command,) = table.find(finding_of(1, intended=b""))
    assert table.say(command) == [command]
    table.end(command, Outcome.HELD, RefusalReason.NOT_APPROVED, now=100)
    assert table.tick(99 + planner.RESEND_FIRST_MS) == []
    assert table.tick(100 + planner.RESEND_FIRST_MS) == [command]


def test_a_no_is_sent_on_to_be_recorded_and_then_forgotten() -> None:
    """The applier writes the refusal into the ledger; nothing is left here after it."""
    table = Table()
    (command,) = table.find(finding_of(1, intended=b""))
    table.end(command, Outcome.HELD, RefusalReason.NOT_APPROVED)
    assert table.say(command, approved=False) == [command]
    table.end(command, Outcome.REFUSED, RefusalReason.REJECTED)
    assert table.rows == {}


NOT_HEARD_YET = {RefusalReason.NOT_APPROVED, RefusalReason.NOT_REHEARSED}


@pytest.mark.parametrize("reason", [r for r in RefusalReason if r in WAITS_FOR_WORD - NOT_HEARD_YET])
def test_a_word_that_was_not_enough_leaves_it_waiting_for_people(reason: RefusalReason) -> None:
    """It is not tried again by itself, and goes again with the next word."""
    table = Table()
    (command,) = table.find(finding_of(1, intended=b""))
    assert table.say(command) == [command]
    table.end(command, Outcome.HELD, reason, now=100)
    assert table.tick(command.expires_at_ms - 1) == []
    assert table.say(command) == [command]


def test_a_row_whose_source_transaction_was_refused_waits_for_a_person_from_then_on() -> None:
    """It says so itself, also when it comes alone: offered again when its time is over, and sent on a word."""
    table = Table()
    (command,) = table.find(finding_of(1))
    assert not command.needs_approval
    (asks,) = table.answer(command, Outcome.HELD, RefusalReason.GROUP_REFUSED)
    assert asks == replace(command, needs_approval=True, reason="a row of its source transaction was refused")
    table.end(asks, Outcome.HELD, RefusalReason.NOT_APPROVED)
    (again,) = table.tick(asks.expires_at_ms)
    assert again.needs_approval
    assert table.say(again) == [again]


def test_what_is_to_be_rehearsed_is_sent_and_waits_on() -> None:
    """The applier tries it when it comes; nothing of what is kept changes, and the same word of yes lets it go."""
    table = Table()
    (command,) = table.find(finding_of(1, intended=b""))
    table.end(command, Outcome.HELD, RefusalReason.NOT_REHEARSED)
    kept = dict(table.rows)
    assert table.say(command, approved=False, rehearses=True) == [command]
    table.end(command, Outcome.HELD, RefusalReason.NOT_APPROVED)
    assert table.rows == kept
    assert table.say(replace(command, fence_token=1), approved=False, rehearses=True) == []
    assert table.say(command) == [command]


def test_a_yes_that_the_rehearsal_has_not_reached_yet_is_tried_again() -> None:
    """The applier reads of the rehearsal in a moment: nobody has to say yes twice."""
    table = Table()
    (command,) = table.find(finding_of(1, intended=b""))
    table.end(command, Outcome.HELD, RefusalReason.NOT_APPROVED)
    table.say(command)
    table.end(command, Outcome.HELD, RefusalReason.NOT_REHEARSED, now=100)
    assert table.tick(100 + planner.RESEND_FIRST_MS) == [command]


def test_a_word_on_another_content_sends_nothing() -> None:
    """The same id with one byte changed is not what was planned."""
    table = Table()
    (command,) = table.find(finding_of(1, intended=b""))
    table.end(command, Outcome.HELD, RefusalReason.NOT_APPROVED)
    assert table.say(replace(command, expires_at_ms=command.expires_at_ms + 1)) == []
    assert table.say(replace(command, fence_token=1)) == []
    assert table.say(command) == [command]


@pytest.mark.parametrize("reason", [r for r in RefusalReason if r in DISTRUSTED])
def test_a_forged_twin_does_not_end_the_true_command(reason: RefusalReason) -> None:
    """What was refused under its id was not ours: ours is sent again, and its own outcome ends it."""
    table = Table()
    (command,) = table.find(finding_of(1))
    table.end(command, Outcome.REFUSED, reason, now=0)
    assert table.tick(planner.RESEND_FIRST_MS) == [command]
    table.end(command, Outcome.APPLIED)
    assert table.rows == {}


CLOSED_UNTIL_EIGHT = {"allow": (Hours(frozenset(range(7)), 8 * 60, 18 * 60),)}
EIGHT_MS = 8 * 3_600_000


def test_what_may_go_alone_waits_for_the_policys_hours() -> None:
    """Planned at midnight it is kept, looked at again, and sent at eight with a new term."""
    table = Table(**CLOSED_UNTIL_EIGHT)
    assert table.find(finding_of(1), now=0) == []
    assert table.find(finding_of(1), now=1) == []
    assert table.tick(planner.HOURS_LOOK_MS) == []
    assert table.tick(EIGHT_MS - 1) == []
    (command,) = table.tick(EIGHT_MS + planner.HOURS_LOOK_MS)
    assert command.expires_at_ms == EIGHT_MS + planner.HOURS_LOOK_MS + planner.RENEWED_MS
    table.end(command, Outcome.APPLIED)
    assert table.rows == {}


def test_what_waits_for_a_person_is_shown_at_any_hour() -> None:
    """It can be approved by night; held for its hour then, it goes as it was approved while it has not expired."""
    table = Table(**CLOSED_UNTIL_EIGHT)
    late = EIGHT_MS - planner.HOURS_LOOK_MS
    (command,) = table.find(finding_of(1, intended=b""), now=late)
    table.end(command, Outcome.HELD, RefusalReason.NOT_APPROVED, now=late)
    assert table.say(command) == [command]
    table.end(command, Outcome.HELD, RefusalReason.OUTSIDE_HOURS, now=late)
    assert table.tick(EIGHT_MS - 1) == []
    assert table.tick(EIGHT_MS) == [command]


@pytest.mark.parametrize(
    "reason",
    [RefusalReason.ROW_LOCKED, RefusalReason.OVER_BUDGET, RefusalReason.NO_RIGHT, RefusalReason.TABLE_DIFFERS],
)
def test_a_passing_reason_is_tried_again_with_growing_pauses(reason: RefusalReason) -> None:
    """Each try waits longer, up to a bound, and leaves no timer behind."""
    table = Table()
    (command,) = table.find(finding_of(1))
    now = 0
    for attempt in range(8):
        table.end(command, Outcome.HELD, reason, now=now)
        pause = min(planner.RESEND_FIRST_MS << attempt, planner.RESEND_MOST_MS)
        assert table.tick(now + pause - 1) == []
        now += pause
        assert table.tick(now) == [command]
        assert table.tick(now + planner.RESEND_MOST_MS - 1) == []
    table.end(command, Outcome.APPLIED)
    assert table.rows == {}


def test_a_command_that_was_lost_on_its_way_goes_again() -> None:
    """Sent again after a pause and never answered: a crash may have lost it, so it is sent until it is answered."""
    table = Table()
    (command,) = table.find(finding_of(1))
    table.end(command, Outcome.HELD, RefusalReason.ROW_LOCKED, now=0)
    assert table.tick(planner.RESEND_FIRST_MS) == [command]
    assert table.tick(planner.RESEND_FIRST_MS + planner.RESEND_MOST_MS) == [command]
    table.end(command, Outcome.APPLIED)
    assert table.tick(10**9) == []
    assert table.rows == {}


def test_what_expired_while_repairs_stood_still_gets_another_term() -> None:
    """Nothing was recorded under its id, and its row still drifts: it goes again, and a person is asked again."""
    table = Table()
    (command,) = table.find(finding_of(1, intended=b""))
    assert table.say(command) == [command]
    over_ms = command.expires_at_ms
    table.end(command, Outcome.HELD, RefusalReason.EXPIRED, now=over_ms)
    (again,) = table.tick(over_ms + planner.RESEND_FIRST_MS)
    assert again == replace(command, expires_at_ms=over_ms + planner.RESEND_FIRST_MS + planner.RENEWED_MS)
    table.end(again, Outcome.HELD, RefusalReason.NOT_APPROVED, now=over_ms + planner.RESEND_FIRST_MS)
    assert table.tick(again.expires_at_ms - 1) == [], "what was said of it under its old time counts no more"
    assert table.say(again) == [again]
    table.end(again, Outcome.APPLIED)
    assert table.rows == {}


def test_an_old_copy_that_somebody_plays_again_changes_no_term() -> None:
    """It is over, and what was sent since is not: that goes as it is, with the word that was said of it."""
    table = Table()
    (command,) = table.find(finding_of(1, intended=b""))
    table.end(command, Outcome.HELD, RefusalReason.NOT_APPROVED)
    table.end(command, Outcome.HELD, RefusalReason.EXPIRED, now=100)
    assert table.tick(100 + planner.RESEND_FIRST_MS) == [command]


@pytest.mark.parametrize("stage", [Stage.RESOLVED, Stage.VERIFIED, Stage.REFUTED])
def test_a_drift_that_ended_withdraws_what_waits(stage: Stage) -> None:
    """Nothing waits for a drift that is gone."""
    table = Table()
    (command,) = table.find(finding_of(1))
    table.end(command, Outcome.HELD, RefusalReason.ROW_LOCKED)
    assert table.find(replace(finding_of(1), stage=stage)) == []
    assert table.rows == {}


def test_a_row_that_moved_on_replaces_its_command() -> None:
    """Overtaken again with other digests: the new command is planned and the old one is never sent again."""
    table = Table()
    (old,) = table.find(finding_of(1))
    table.end(old, Outcome.HELD, RefusalReason.ROW_LOCKED)
    (new,) = table.find(finding_of(1, expected=b"E" * 16))
    assert new.command_id != old.command_id
    assert table.tick(10**9) == []
    table.end(old, Outcome.REFUSED, RefusalReason.ROW_MOVED)
    table.end(new, Outcome.APPLIED)
    assert table.rows == {}


def test_a_mass_of_drifts_waits_for_a_person() -> None:
    """The first `mass_rows` go alone; those beyond wait, until some are done."""
    table = Table(mass_rows=2)
    commands = [table.find(finding_of(n))[0] for n in range(1, 5)]
    assert [c.needs_approval for c in commands] == [False, False, True, True]
    for command in commands[:3]:
        table.end(command, Outcome.APPLIED)
    assert not table.find(finding_of(9))[0].needs_approval
