"""Whatever is put on the topics by somebody who should not: refused with its own reason, recorded, nothing written.

What is not what it claims to be rings an alarm; what is merely too late, too early or not enough does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from app.adapters.memory_rows import CHAIN_KEY
from app.adapters.signing import SigningKey, verify
from app.applier.belief import Belief
from app.codec.control import decode_control
from app.core.chain import Break, breaks
from app.core.command import (
    DISTRUSTED,
    Action,
    Approval,
    CommandOutcome,
    Outcome,
    RefusalReason,
    RepairCommand,
    command_id,
)
from app.core.contract import RepairMode
from app.core.guard import as_told
from app.core.ledger import LedgerKind, LedgerRow
from app.core.limits import CLOCK_SKEW_MS_MAX, NAME_LENGTH_MAX
from app.core.signing import MEMBER_BYTES, batch_id
from app.core.switch import Said
from tests.property.applier_rig import CODEC, TOPICS, Message, Rig
from tests.property.applier_world import POLICY, World
from tests.seals import SEALS
from tests.signatures import (
    ANNA,
    ANNAS_OTHER,
    BERT,
    DEPLOYMENT,
    PLANNER,
    SIGNERS,
    STRANGER,
    signed,
    signed_word,
    word_on,
)

Alter = Callable[[RepairCommand], RepairCommand]


def renamed(command: RepairCommand, **changes: object) -> RepairCommand:
    """Change a command and give it the id that its content then has, as a planner gone bad would."""
    changed = replace(command, **changes)  # type: ignore[arg-type]  # by name
    named = command_id(changed.finding_id, changed.target, changed.expected_digest, changed.intended_digest)
    return replace(changed, command_id=named)


def pasted(command: RepairCommand) -> RepairCommand:
    """Return a command under the signature of another, true one."""
    true = signed(replace(command, finding_id=b"z" * 16))
    return replace(command, key_id=true.key_id, signature=true.signature)


FORGED_COMMANDS: dict[str, tuple[Alter, RefusalReason]] = {
    "signed by nobody": (lambda c: replace(c, key_id=PLANNER.key_id, signature=b"\0"), RefusalReason.FORGED),
    "signed with a stranger's key": (lambda c: signed(c, STRANGER), RefusalReason.UNKNOWN_KEY),
    "signed with an approver's key": (lambda c: signed(c, ANNA), RefusalReason.WRONG_ROLE),
    "signed for another deployment": (lambda c: signed(c, deployment="other"), RefusalReason.FORGED),
    "a stranger's signature under the planner's key id": (
        lambda c: replace(signed(c, STRANGER), key_id=PLANNER.key_id),
        RefusalReason.FORGED,
    ),
    "another command's signature": (pasted, RefusalReason.FORGED),
    "what it leaves changed": (lambda c: replace(signed(c), intended_digest=b"i" * 16), RefusalReason.FORGED),
    "what it expects changed": (lambda c: replace(signed(c), expected_digest=b""), RefusalReason.FORGED),
    "made a delete": (lambda c: replace(signed(c), action=Action.DELETE), RefusalReason.FORGED),
    "its entity spelled with a letter that looks alike": (
        lambda c: replace(signed(c), entity="\u043erders"),
        RefusalReason.FORGED,
    ),
    "another row's key": (lambda c: replace(signed(c), sealed_key=b"k"), RefusalReason.FORGED),
    "its approval struck out": (
        lambda c: replace(signed(replace(c, needs_approval=True)), needs_approval=False),
        RefusalReason.FORGED,
    ),
    "its term prolonged": (lambda c: replace(signed(c), expires_at_ms=c.expires_at_ms + 1), RefusalReason.FORGED),
    "its fence forgotten": (lambda c: replace(signed(c), fence_token=1), RefusalReason.FORGED),
    "in another row's partition": (lambda c: signed(replace(c, partition=1)), RefusalReason.WRONG_PARTITION),
}
"""On the topic by somebody who may write it, without the planner's key."""

TRUE_COMMANDS: dict[str, tuple[Alter, RefusalReason]] = {
    "over": (lambda c: replace(c, expires_at_ms=1_000), RefusalReason.EXPIRED),
    "planned in the future": (lambda c: replace(c, planned_at_ms=10**12), RefusalReason.CLOCKS_DISAGREE),
    "an id that is not its content's": (lambda c: replace(c, finding_id=b"y" * 16), RefusalReason.UNREADABLE),
    "an id too short": (lambda c: replace(c, command_id=b"c"), RefusalReason.UNREADABLE),
    "SQL for an entity": (
        lambda c: renamed(c, entity='orders"; DROP TABLE orders; --'),
        RefusalReason.OUTSIDE_CONTRACT,
    ),
    "SQL for a store": (lambda c: renamed(c, target="copy'; --"), RefusalReason.OUTSIDE_CONTRACT),
    "percent for an entity": (lambda c: renamed(c, entity="%s%n"), RefusalReason.OUTSIDE_CONTRACT),
    "NUL in an entity": (lambda c: renamed(c, entity="orders\0"), RefusalReason.OUTSIDE_CONTRACT),
    "the authority for a target": (lambda c: renamed(c, target="shop"), RefusalReason.OUTSIDE_CONTRACT),
    "the copy for an authority": (lambda c: replace(c, authority="copy"), RefusalReason.OUTSIDE_CONTRACT),
    "another contract's version": (lambda c: replace(c, contract_version=2), RefusalReason.OUTSIDE_CONTRACT),
    "a delete that intends a row": (lambda c: replace(c, action=Action.DELETE), RefusalReason.OUTSIDE_CONTRACT),
    "nothing to be changed": (
        lambda c: renamed(c, expected_digest=c.intended_digest),
        RefusalReason.OUTSIDE_CONTRACT,
    ),
    "a key in plain": (lambda c: replace(c, sealed_key=b"1 OR 1=1"), RefusalReason.UNREADABLE),
    "a key of another entity": (
        lambda c: replace(c, sealed_key=SEALS.seal_key("customers", b"\x01key")),
        RefusalReason.UNREADABLE,
    ),
    "an oversized key": (lambda c: replace(c, sealed_key=b"k" * 9_000), RefusalReason.UNREADABLE),
    "an oversized trace": (lambda c: replace(c, trace_id=b"t" * 99), RefusalReason.UNREADABLE),
    "planned by another policy": (lambda c: replace(c, policy_id=b"p" * 16), RefusalReason.POLICY_DIFFERS),
    "a policy's name too short": (lambda c: replace(c, policy_id=b"p"), RefusalReason.UNREADABLE),
    "an older fence": (lambda c: replace(c, fence_token=-1), RefusalReason.FENCED),
}
"""Signed by the planner, as one that was taken over might: the applier's own copy of everything decides."""


def carried_out(world: World, arrange: Callable[[Rig], None]) -> tuple[list[CommandOutcome], Rig]:
    """Let the loop turn over what was put on the topics."""
    rig = Rig(world)
    rig.broker.say(Said.RESUME)
    arrange(rig)
    return rig.run(6), rig


@pytest.mark.parametrize("name", FORGED_COMMANDS)
def test_a_command_that_is_not_the_planners(name: str) -> None:
    """Told as an outcome and as an alarm; not even the ledger is touched, and the true command goes through."""
    alter, reason = FORGED_COMMANDS[name]
    world = World("new", "old")
    true = world.command("old", "new")
    (outcome,), rig = carried_out(world, lambda rig: rig.broker.command(alter(true)))
    assert (outcome.reason, outcome.partition) == (reason, 0)
    assert rig.meter.alarms == [reason.value]
    assert (world.value(world.target), world.target.ledger, world.target.transactions) == ("old", {}, 0)
    assert world.applier().carry_out(true).reason is None
    assert world.value(world.target) == "new"


@pytest.mark.parametrize("name", TRUE_COMMANDS)
def test_a_command_that_the_planner_should_not_have_signed(name: str) -> None:
    """Refused by our own contract, clock, seals and fence; it rings no alarm, since the planner did sign it."""
    alter, reason = TRUE_COMMANDS[name]
    world = World("new", "old")
    (outcome,), rig = carried_out(world, lambda rig: rig.broker.command(signed(alter(world.command("old", "new")))))
    assert outcome.reason is reason
    assert rig.meter.alarms == []
    assert world.value(world.target) == "old"


def test_a_delete_that_the_contract_forbids() -> None:
    """Whatever the command says, and whoever approved it."""
    world = World(None, "extra", replace(POLICY, deletes=False))
    command = world.command("extra", None)

    def arrange(rig: Rig) -> None:
        rig.broker.approve(command)
        rig.broker.command(command)

    (outcome,), _ = carried_out(world, arrange)
    assert outcome.reason is RefusalReason.OUTSIDE_CONTRACT
    assert world.value(world.target) == "extra"


@pytest.mark.parametrize(
    ("mode", "reason"),
    [(RepairMode.PROPOSE, RefusalReason.NOT_APPROVED), (RepairMode.OBSERVE, RefusalReason.OUTSIDE_CONTRACT)],
)
def test_a_field_that_the_command_does_not_name(mode: RepairMode, reason: RefusalReason) -> None:
    """What differs is read from both rows under the lock, whatever the command says differs."""
    world = World("new", "old", replace(POLICY, columns={"value": mode}))
    command = replace(world.command("old", "new"), columns=("note",))
    (outcome,), _ = carried_out(world, lambda rig: rig.broker.command(command))
    assert outcome.reason is reason
    assert world.value(world.target) == "old"


def test_a_command_played_again_after_the_row_went_on() -> None:
    """Its outcome is said again, and the application's later value stays."""
    world = World("new", "old")
    command = world.command("old", "new")
    (first,), _ = carried_out(world, lambda rig: rig.broker.command(command))
    world.target.put("orders", b"\x01key", {"value": "old", "note": "put back by the application"})
    (again,), _ = carried_out(world, lambda rig: rig.broker.command(command))
    assert (first.reason, again.reason, again.at_ms) == (None, None, first.at_ms)
    assert world.value(world.target) == "old"
    assert len(world.target.ledger) == 1


def test_a_clock_set_back_does_not_make_a_command_young_again() -> None:
    """Nothing is earlier than the newest row of the ledger."""
    world = World("new", "old")
    world.now_ms = 9_000
    carried_out(world, lambda rig: rig.broker.command(world.command("old", "new")))
    world.target.put("orders", b"\x01key", {"value": "old", "note": "theirs"})
    late = replace(world.command("old", "new"), expires_at_ms=9_000)
    world.now_ms = 1_000
    (outcome,), _ = carried_out(world, lambda rig: rig.broker.command(late))
    assert outcome.reason is RefusalReason.EXPIRED
    assert world.value(world.target) == "old"


def test_a_ledger_row_of_a_time_that_has_not_come_moves_no_clock() -> None:
    """Nothing is written while it stands, nothing refused for good, and once it is gone the command goes."""
    world = World("new", "old")
    command, other = world.command("old", "new"), world.command("a", "b")
    world.target.keep(ledger_row_of(other, CLOCK_SKEW_MS_MAX + 1_001))
    applier = world.applier()
    held = applier.carry_out(command)
    assert (held.outcome, held.reason, held.at_ms) == (Outcome.HELD, RefusalReason.CLOCKS_DISAGREE, 1_000)
    world.target.ledger.clear()
    assert applier.carry_out(command).reason is None


def test_nor_do_rows_push_it_on_step_by_step() -> None:
    """The clocks of two hosts may differ by as much as one row is ahead of ours, and by no more."""
    world = World("new", "old")
    command, other = world.command("old", "new"), world.command("a", "b")
    applier = world.applier()
    for steps in (1, 2):
        world.target.ledger.clear()
        world.target.keep(ledger_row_of(other, 1_000 + steps * CLOCK_SKEW_MS_MAX))
        applier.heed_ledgers()
    held = applier.carry_out(replace(command, expires_at_ms=10**9))
    assert (held.reason, held.at_ms) == (RefusalReason.CLOCKS_DISAGREE, 1_000 + CLOCK_SKEW_MS_MAX)


@pytest.mark.parametrize("kind", [LedgerKind.REFUSAL, LedgerKind.COMMAND])
def test_a_row_that_only_has_a_commands_id_ends_it_neither_way(kind: LedgerKind) -> None:
    """Who may insert into the ledger cannot have it pass for refused or done; once the row is gone it goes."""
    world = World("new", "old")
    command = world.command("old", "new")
    reason = RefusalReason.ROW_MOVED if kind is LedgerKind.REFUSAL else None
    world.target.keep(replace(ledger_row_of(command, 0), kind=kind, reason=reason, partition=-5))
    applier = world.applier()
    held = applier.carry_out(command)
    assert (held.outcome, held.reason) == (Outcome.HELD, RefusalReason.BARRED)
    assert [each.what for each in breaks(CHAIN_KEY, world.target.ledger_rows())] == [Break.ALTERED]
    world.target.ledger.clear()
    assert applier.carry_out(command).reason is None


def test_a_row_under_a_commands_id_that_speaks_of_none_ends_it_neither_way() -> None:
    """As a store reads one that no applier can have written, in the command's own partition."""
    world = World("new", "old")
    command = world.command("old", "new")
    forged = replace(ledger_row_of(command, 0), kind=LedgerKind.REFUSAL, reason=RefusalReason.UNREADABLE)
    world.target.keep(replace(forged, original_id=b""))
    held = world.applier().carry_out(command)
    assert (held.outcome, held.reason) == (Outcome.HELD, RefusalReason.BARRED)


def test_a_barred_row_holds_those_of_its_source_transaction() -> None:
    """None of them is written without it, and none is refused."""
    world = World("new", "old")
    world.put(b"other", "right", "wrong")
    barred, other = world.command("old", "new", source_transaction="s"), world.command("wrong", "right", b"other", "s")
    world.target.keep(replace(ledger_row_of(barred, 0), partition=-5))
    outcomes = world.applier().carry_out_all([barred, other])
    assert [(o.outcome, o.reason) for o in outcomes] == [(Outcome.HELD, RefusalReason.BARRED)] * 2
    assert world.value(world.target, b"other") == "wrong"


def ledger_row_of(command: RepairCommand, written_at_ms: int) -> LedgerRow:
    """Return a row that says of a command that it was carried out."""
    answers = World(None, None).applier().answers
    return replace(answers.row(command, LedgerKind.COMMAND, Outcome.APPLIED), written_at_ms=written_at_ms)


@pytest.mark.parametrize("value", [b"", b"forged", b"\0\0\0\0\x02", b"\0\0\0\0\x63more", b"\xff" * 5_000])
def test_bytes_that_are_no_command(value: bytes) -> None:
    """Kept in quarantine with their place; the next command goes on."""
    world = World("new", "old")
    outcomes, rig = carried_out(world, lambda rig: rig.broker.command(value))
    assert outcomes == []
    assert [r.topic for r in rig.sink.sent] == [TOPICS.quarantine]
    assert world.value(world.target) == "old"


HUGE = 2_000_000
"""More than the applier's client sends in one record; a broker may be set to take it from others."""

LARGE_COMMANDS: dict[str, Alter] = {
    "its id, which an outcome has twice": lambda c: replace(c, command_id=b"c" * 510_000),
    "its id": lambda c: replace(c, command_id=b"c" * HUGE),
    "its drift": lambda c: replace(c, finding_id=b"f" * HUGE),
    "its trace": lambda c: replace(c, trace_id=b"t" * HUGE),
    "its entity": lambda c: replace(c, entity="e" * HUGE),
    "its store": lambda c: replace(c, target="\u00fc" * HUGE),
    "all that is told of it": lambda c: replace(c, finding_id=b"f" * HUGE, entity="e" * HUGE, trace_id=b"t" * HUGE),
    "what is not told of it": lambda c: replace(c, reason="r" * HUGE, kind="k" * HUGE, sealed_key=b"k" * HUGE),
}


@pytest.mark.parametrize("key", [None, STRANGER, PLANNER])
@pytest.mark.parametrize("name", LARGE_COMMANDS)
def test_what_is_told_of_a_command_does_not_grow_with_it(name: str, key: SigningKey | None) -> None:
    """An outcome that no broker takes would end each applier that reads the command, and so each start anew."""
    world = World("new", "old")
    true = world.command("old", "new")
    large = LARGE_COMMANDS[name](true)

    def arrange(rig: Rig) -> None:
        rig.broker.command(signed(large, key) if key else replace(large, key_id=PLANNER.key_id, signature=b"\0"))
        rig.broker.command(true)

    (told, done), rig = carried_out(world, arrange)
    assert (told.outcome, done.outcome) == (Outcome.REFUSED, Outcome.APPLIED)
    (first, *_) = [r for r in rig.sink.sent if r.topic == TOPICS.outcomes]
    assert len(first.key or b"") <= 16
    assert len(first.value or b"") < 2_000
    assert rig.broker.committed == {0: 2}


def test_a_name_that_is_cut_is_nobodys() -> None:
    """What is told of a command that somebody made up names no entity and no store of ours because it was cut."""
    told = as_told(replace(World("new", "old").command("old", "new"), entity="orders".ljust(999, "x")))
    assert len(told.entity) == NAME_LENGTH_MAX > 63  # of an entity's name, as contracts spell it


def test_a_rehearsal_that_is_asked_for_does_not_grow_with_its_command() -> None:
    """An approver was shown a batch by its sample keys and said `rehearse`; a trace is in nobody's sight."""
    world = World("new", "old")
    large = signed(replace(world.command("old", "new"), trace_id=b"t" * HUGE))

    def arrange(rig: Rig) -> None:
        rig.broker.hear(CODEC.approval(word_on([large], approved=False, rehearses=True, life_ms=600_000)))
        rig.broker.command(large)

    (outcome,), rig = carried_out(world, arrange)
    assert outcome.reason is RefusalReason.UNREADABLE
    assert [shown.reason for shown in rig.rehearsals()] == [RefusalReason.UNREADABLE]


def test_an_undo_of_what_can_be_no_command_is_refused() -> None:
    """An id is made of the one that it takes back, and no hash takes a key of any length."""
    world = World("new", "old")
    odd = signed(replace(world.command("old", "new"), action=Action.RESTORE, undoes=b"u" * 65), ANNA)
    (outcome,), _ = carried_out(world, lambda rig: rig.broker.command(odd))
    assert outcome.reason is RefusalReason.UNREADABLE


@pytest.mark.parametrize(("key_bytes", "value_bytes"), [(3, 999_950), (500_000, 499_950), (999_950, 3), (HUGE, HUGE)])
def test_bytes_that_are_no_command_and_fill_a_record(key_bytes: int, value_bytes: int) -> None:
    """Kept as far as they fit beside what is said of them; the next command goes on."""
    world = World("new", "old")
    junk = Message(TOPICS.repairs, 0, 0, b"\xff" * value_bytes, b"k" * key_bytes)

    def arrange(rig: Rig) -> None:
        rig.broker.commands.append(junk)
        rig.broker.command(world.command("old", "new"))

    outcomes, rig = carried_out(world, arrange)
    assert [o.outcome for o in outcomes] == [Outcome.APPLIED]
    (kept,) = [CODEC.read_quarantine(r.value) for r in rig.sink.sent if r.topic == TOPICS.quarantine]
    assert kept.is_cut
    assert junk.key().startswith(kept.key or b"-")
    assert (junk.value() or b"").startswith(kept.value or b"-")
    assert rig.broker.committed == {0: 2}


OF_PEOPLE = frozenset(
    {
        RefusalReason.REJECTED,
        RefusalReason.NOT_REHEARSED,
        RefusalReason.NOT_APPROVED,
        RefusalReason.APPROVAL_EXPIRED,
        RefusalReason.APPROVER_UNKNOWN,
        RefusalReason.SAME_PERSON,
        RefusalReason.SECOND_PERSON,
    }
)
"""What can be missing in, or speak against a command, of people's words."""


@dataclass(frozen=True)
class Talk:
    """Words on a delete that waits for `persons`, heard in this order, and what comes of it.

    `refused` are the reasons for which words are not heard, `held` why the command does not go.
    """

    words: Callable[[RepairCommand], list[Approval]]
    refused: tuple[RefusalReason, ...]
    held: RefusalReason
    persons: int = 1


def _word(command: RepairCommand, **changes: object) -> Approval:
    return signed_word(replace(word_on([command]), **changes))  # type: ignore[arg-type]  # by name


def _named(command: RepairCommand, members: tuple[bytes, ...]) -> Approval:
    return _word(command, members=members, batch_id=batch_id(DEPLOYMENT, members))


TALKS = {
    "nobody": Talk(lambda _: [], (), RefusalReason.NOT_APPROVED),
    "unsigned": Talk(
        lambda c: [replace(word_on([c]), signature=b"")], (RefusalReason.FORGED,), RefusalReason.NOT_APPROVED
    ),
    "signed with the planner's key": Talk(
        lambda c: [word_on([c], PLANNER)], (RefusalReason.WRONG_ROLE,), RefusalReason.NOT_APPROVED
    ),
    "signed with a stranger's key": Talk(
        lambda c: [word_on([c], STRANGER)], (RefusalReason.UNKNOWN_KEY,), RefusalReason.NOT_APPROVED
    ),
    "signed for another deployment": Talk(
        lambda c: [signed_word(word_on([c]), deployment="other")], (RefusalReason.FORGED,), RefusalReason.NOT_APPROVED
    ),
    "a no made a yes": Talk(
        lambda c: [replace(word_on([c], approved=False), approved=True)],
        (RefusalReason.FORGED,),
        RefusalReason.NOT_APPROVED,
    ),
    "its time prolonged": Talk(
        lambda c: [replace(word_on([c], life_ms=1), expires_at_ms=10**6)],
        (RefusalReason.FORGED,),
        RefusalReason.NOT_APPROVED,
    ),
    "a command put into a batch that was approved": Talk(
        lambda c: [replace(word_on([replace(c, fence_token=9)]), members=word_on([c]).members)],
        (RefusalReason.FORGED,),
        RefusalReason.NOT_APPROVED,
    ),
    "another batch's name": Talk(
        lambda c: [_word(c, batch_id=b"b" * 32)], (RefusalReason.ALTERED,), RefusalReason.NOT_APPROVED
    ),
    "on another command": Talk(
        lambda c: [word_on([replace(c, finding_id=b"other".ljust(16))])], (), RefusalReason.NOT_APPROVED
    ),
    "on the same command before it was altered": Talk(
        lambda c: [word_on([replace(c, expires_at_ms=c.expires_at_ms - 1)])], (), RefusalReason.NOT_APPROVED
    ),
    "said twice": Talk(
        lambda c: [word_on([c]), word_on([c])], (RefusalReason.REPLAYED,), RefusalReason.SECOND_PERSON, persons=2
    ),
    "over": Talk(
        lambda c: [word_on([c], life_ms=1_000)], (RefusalReason.APPROVAL_EXPIRED,), RefusalReason.APPROVAL_EXPIRED
    ),
    "for ever": Talk(lambda c: [word_on([c], life_ms=10**12)], (RefusalReason.UNREADABLE,), RefusalReason.NOT_APPROVED),
    "from the future": Talk(
        lambda c: [word_on([c], said_at_ms=10**9)], (RefusalReason.CLOCKS_DISAGREE,), RefusalReason.NOT_APPROVED
    ),
    "one of two persons": Talk(lambda c: [word_on([c])], (), RefusalReason.SECOND_PERSON, persons=2),
    "one person with two keys": Talk(
        lambda c: [word_on([c]), word_on([c], ANNAS_OTHER)], (), RefusalReason.SAME_PERSON, persons=2
    ),
    "one person and a stranger": Talk(
        lambda c: [word_on([c]), word_on([c], STRANGER)],
        (RefusalReason.UNKNOWN_KEY,),
        RefusalReason.SECOND_PERSON,
        persons=2,
    ),
    "a yes played again after a no": Talk(
        lambda c: [word_on([c]), word_on([c], approved=False), word_on([c])],
        (RefusalReason.REPLAYED,),
        RefusalReason.REJECTED,
    ),
    "a yes by another after a no": Talk(
        lambda c: [word_on([c], approved=False), word_on([c], BERT)], (), RefusalReason.REJECTED
    ),
    "members without number": Talk(
        lambda c: [_named(c, tuple(n.to_bytes(MEMBER_BYTES, "big") for n in range(2_001)))],
        (RefusalReason.UNREADABLE,),
        RefusalReason.NOT_APPROVED,
    ),
    "members that are none": Talk(
        lambda c: [_named(c, (b"", b"x" * 5_000))], (RefusalReason.UNREADABLE,), RefusalReason.NOT_APPROVED
    ),
    "no member": Talk(lambda c: [_named(c, ())], (RefusalReason.UNREADABLE,), RefusalReason.NOT_APPROVED),
    "a member many times": Talk(
        lambda c: [_named(c, word_on([c]).members * 9)], (RefusalReason.UNREADABLE,), RefusalReason.NOT_APPROVED
    ),
    "a book for a reason": Talk(
        lambda c: [_word(c, why="\x1b[2J" * 9_999)], (RefusalReason.UNREADABLE,), RefusalReason.NOT_APPROVED
    ),
}


def test_the_lists_leave_no_reason_out_that_somebody_can_bring_about() -> None:
    """Sixty cases; each reason for which something is not what it claims to be, and each that a word can lack."""
    commands = {**FORGED_COMMANDS, **TRUE_COMMANDS}
    assert len(commands) == len(FORGED_COMMANDS) + len(TRUE_COMMANDS)
    assert len(commands) + len(TALKS) >= 60
    met = {reason for _, reason in commands.values()}
    met |= {reason for talk in TALKS.values() for reason in (*talk.refused, talk.held)}
    # These three have tests of their own: a person, a key or a rehearsal has to come or go in between.
    assert (DISTRUSTED | OF_PEOPLE) - met == {
        RefusalReason.OUTDATED_KEY,
        RefusalReason.APPROVER_UNKNOWN,
        RefusalReason.NOT_REHEARSED,
    }


@pytest.mark.parametrize("name", TALKS)
def test_words_that_do_not_let_a_delete_go(name: str) -> None:
    """Each word that is not heard is an outcome of its own; the command says why it does not go; the row stays."""
    talk = TALKS[name]
    world = World(None, "extra", replace(POLICY, deletes_wait=True, persons=talk.persons))
    command = replace(world.command("extra", None), needs_approval=True)

    def arrange(rig: Rig) -> None:
        for word in talk.words(command):
            rig.broker.hear(CODEC.approval(word))
        rig.broker.command(command)

    outcomes, rig = carried_out(world, arrange)
    assert [o.reason for o in outcomes if o.command_id != command.command_id] == list(talk.refused)
    assert [o.reason for o in outcomes if o.command_id == command.command_id] == [talk.held]
    assert rig.meter.alarms == [reason.value for reason in talk.refused if reason in DISTRUSTED]
    assert world.value(world.target) == "extra"


@pytest.mark.parametrize(
    ("words", "persons", "approver"),
    [
        (lambda c: [word_on([c])], 1, "anna"),
        (lambda c: [word_on([c]), word_on([c], BERT)], 2, "anna and bert"),
        # What strangers say does not stand in the way either.
        (lambda c: [word_on([c], STRANGER, approved=False), word_on([c], BERT)], 1, "bert"),
    ],
)
def test_words_that_let_it_go(words: Callable[[RepairCommand], list[Approval]], persons: int, approver: str) -> None:
    """Else the table above proves nothing; who allowed it stands in the ledger."""
    world = World(None, "extra", replace(POLICY, deletes_wait=True, persons=persons))
    command = replace(world.command("extra", None), needs_approval=True)

    def arrange(rig: Rig) -> None:
        for word in words(command):
            rig.broker.hear(CODEC.approval(word))
        rig.broker.command(command)

    outcomes, _ = carried_out(world, arrange)
    assert [o.reason for o in outcomes if o.command_id == command.command_id] == [None]
    assert world.value(world.target) is None
    assert world.target.ledger[command.command_id].approver == approver


def test_a_word_of_somebody_who_left_before_it_was_used() -> None:
    """Trust is asked at the moment of writing: a line taken out of the list counts at once."""
    world = World(None, "extra", replace(POLICY, deletes_wait=True))
    command = replace(world.command("extra", None), needs_approval=True)
    left = dict(SIGNERS)
    rig = Rig(world)
    object.__setattr__(rig.loop.applier, "belief", Belief(DEPLOYMENT, lambda: left, verify))
    rig.broker.say(Said.RESUME)
    rig.broker.approve(command)

    def leave(turn: int) -> None:
        if turn == 2:
            del left[ANNA.key_id]
            rig.broker.command(command)

    (outcome,) = rig.run(6, leave)
    assert outcome.reason is RefusalReason.APPROVER_UNKNOWN
    assert world.value(world.target) == "extra"


def approved_for_a_while() -> tuple[World, Rig, RepairCommand]:
    """Return a delete that a person has let go, until two million."""
    world = World(None, "extra", replace(POLICY, deletes_wait=True))
    command = replace(world.command("extra", None), needs_approval=True, expires_at_ms=10**9)
    rig = Rig(world)
    rig.broker.say(Said.RESUME)
    rig.broker.hear(CODEC.approval(word_on([command], life_ms=2_000_000)))
    return world, rig, command


def test_a_clock_that_is_set_back_makes_no_approval_valid_again() -> None:
    """It was over once, as this process knows: it stays so."""
    world, rig, command = approved_for_a_while()

    def turns(turn: int) -> None:
        if turn in {2, 4}:
            world.now_ms = 3_000_000 if turn == 2 else 1_000
            rig.broker.command(command)

    assert [o.reason for o in rig.run(8, turns) if o.command_id == command.command_id] == [
        RefusalReason.APPROVAL_EXPIRED
    ] * 2
    assert world.value(world.target) == "extra"


@pytest.mark.parametrize(
    ("back_to_ms", "reason"), [(1_950_000, RefusalReason.APPROVAL_EXPIRED), (1_000, RefusalReason.CLOCKS_DISAGREE)]
)
def test_nor_does_it_after_a_restart_where_the_ledger_has_seen_a_later_time(
    back_to_ms: int, reason: RefusalReason
) -> None:
    """What the target's own ledger holds is no earlier than now; set back by more than clocks differ, nothing goes."""
    world, rig, command = approved_for_a_while()
    world.put(b"other", "right", "wrong")
    world.now_ms = 2_200_000
    other = replace(world.command("wrong", "right", b"other"), expires_at_ms=10**9)
    assert world.applier().carry_out(other).reason is None
    world.now_ms = back_to_ms
    rig.broker.command(command)
    (outcome,) = [o for o in rig.run(6) if o.command_id == command.command_id]
    assert outcome.reason is reason
    assert world.value(world.target) == "extra"


@pytest.mark.parametrize(
    ("back_to_ms", "reason"), [(1_950_000, RefusalReason.OUTDATED_KEY), (1_000, RefusalReason.CLOCKS_DISAGREE)]
)
def test_nor_does_it_make_a_key_trusted_again(back_to_ms: int, reason: RefusalReason) -> None:
    """A planner's key whose time is over signs nothing any more, whatever the clock says afterwards."""
    world = World("new", "old")
    world.put(b"other", "right", "wrong")
    world.now_ms = 2_200_000
    other = replace(world.command("wrong", "right", b"other"), expires_at_ms=10**9)
    assert world.applier().carry_out(other).reason is None
    world.now_ms = back_to_ms
    rig = Rig(world)
    trusted = {**SIGNERS, PLANNER.key_id: replace(SIGNERS[PLANNER.key_id], until_ms=2_000_000)}
    object.__setattr__(rig.loop.applier, "belief", Belief(DEPLOYMENT, lambda: trusted, verify))
    rig.broker.say(Said.RESUME)
    rig.broker.command(replace(world.command("old", "new"), expires_at_ms=10**9))
    (outcome,) = rig.run(6)
    assert outcome.reason is reason
    assert world.value(world.target) == "old"


def test_a_flood_of_words_stops_repairs_and_brings_nothing_through() -> None:
    """Forged and replayed words by the hundred: one stop, not one of ten; the row stays until a person has looked."""
    world = World(None, "extra", replace(POLICY, deletes_wait=True))
    command = replace(world.command("extra", None), needs_approval=True)
    other = CODEC.approval(word_on([replace(command, finding_id=b"other".ljust(16))]))
    forged = CODEC.approval(word_on([command], STRANGER))

    def flood(rig: Rig) -> None:
        for _ in range(200):
            rig.broker.hear(forged)
            rig.broker.hear(other)
        rig.broker.command(command)

    outcomes, rig = carried_out(world, flood)
    assert {o.reason for o in outcomes} == {RefusalReason.UNKNOWN_KEY, RefusalReason.REPLAYED}
    assert len(rig.meter.alarms) == len(outcomes) == 399
    said = [decode_control(r.value) for r in rig.sink.sent if r.topic == TOPICS.control]
    assert [(word.said, word.why) for word in said] == [(Said.PAUSE, "forgeries")]
    assert world.value(world.target) == "extra"

    def look(looked: Rig) -> None:
        looked.broker.approve(command)
        looked.broker.command(command)

    (outcome,), _ = carried_out(world, look)
    assert outcome.reason is None
    assert world.value(world.target) is None
