"""People's words over restarts, changes of keys, floods and records that nobody can read."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException
from hypothesis import given, settings
from hypothesis import strategies as st

from app.adapters.signing import verify
from app.applier.belief import Belief
from app.codec.control import encode_control
from app.core.command import Approval, Outcome, RefusalReason, RepairCommand
from app.core.errors import Unready
from app.core.signing import DIGEST_BYTES
from app.core.switch import Control, Said
from app.core.trust import Signers
from tests.property.applier_rig import APPROVALS, CODEC, TOPICS, Rig, WordConsumer
from tests.property.applier_world import POLICY, World
from tests.signatures import ANNA, BERT, DEPLOYMENT, SIGNERS, STRANGER, resume_word, signed_word, word_on

WITHOUT_ANNA = {key_id: signer for key_id, signer in SIGNERS.items() if signer.person != "anna"}
ANNA_IS_OVER = SIGNERS | {ANNA.key_id: replace(SIGNERS[ANNA.key_id], until_ms=0)}
EARLIER_MS, LATER_MS = 1_000, 5_000_000
"""Before and after a word of an hour is over."""


def believing(signers: Signers) -> Belief:
    """Return the belief of an applier with such a list of signers."""
    return Belief(DEPLOYMENT, lambda: signers, verify)


def waiting(world: World) -> RepairCommand:
    """Plan a delete that waits for a person and never expires."""
    return replace(world.command("extra", None), needs_approval=True, expires_at_ms=10 * LATER_MS)


def used() -> tuple[Rig, list[RepairCommand]]:
    """Return an applier that Bert has let go on, that heard Anna approve twelve deletes, and carried the first out."""
    world = World(None, "extra", replace(POLICY, deletes_wait=True))
    world.now_ms = EARLIER_MS
    commands = [waiting(world) for _ in range(12)]
    rig = Rig(world)
    rig.broker.switch(resume_word(-1, BERT))
    for command in commands:
        rig.broker.approve(command)
    rig.broker.command(commands[0])
    assert [o.outcome for o in rig.run(4)] == [Outcome.APPLIED]
    world.put(b"\x01key", None, "extra")
    return rig, commands


@pytest.mark.parametrize("signers", [WITHOUT_ANNA, ANNA_IS_OVER], ids=["taken out", "over"])
def test_a_key_that_is_taken_away_rings_no_alarm_for_words_that_were_heard(signers: Signers) -> None:
    """After a restart repairs go on, nothing is told of the old words, and none of them lets anything new go."""
    rig, commands = used()
    again = Rig(rig.world, broker=rig.broker, belief=believing(signers))
    again.broker.command(commands[1])
    assert [(o.command_id, o.reason) for o in again.run(4)] == [(commands[1].command_id, RefusalReason.NOT_APPROVED)]
    assert again.meter.alarms == []
    assert [r for r in again.sink.sent if r.topic == TOPICS.control] == []
    assert again.world.value(again.world.target) == "extra"


def test_words_that_were_used_and_then_expired_are_not_told_as_refused() -> None:
    """They count no more, and the audit trail holds nothing that did not happen."""
    rig, commands = used()
    rig.world.now_ms = LATER_MS
    again = Rig(rig.world, broker=rig.broker)
    again.broker.command(commands[1])
    assert [(o.command_id, o.reason) for o in again.run(4)] == [(commands[1].command_id, RefusalReason.NOT_APPROVED)]
    assert again.meter.alarms == []


def test_a_word_that_still_counts_is_heard_again_by_each_start() -> None:
    """A yes lets a command go after the restart, and a no is final, also once its time is over."""
    rig, commands = used()
    rig.broker.hear(CODEC.approval(word_on([commands[2]], BERT, approved=False)))
    rig.run(4)
    rig.world.now_ms = EARLIER_MS + 1
    again = Rig(rig.world, broker=rig.broker)
    again.broker.command(commands[1])
    assert [o.outcome for o in again.run(4)] == [Outcome.APPLIED]
    rig.world.now_ms = LATER_MS
    last = Rig(rig.world, broker=rig.broker)
    last.broker.command(commands[2])
    assert [o.reason for o in last.run(4)] == [RefusalReason.REJECTED]


def test_words_that_nobody_heard_in_time_are_alarms_once() -> None:
    """Said while no applier ran, with a key that was taken away meanwhile: told by the next one and by no other."""
    rig, _ = used()
    word = word_on([waiting(rig.world)])
    rig.broker.hear(CODEC.approval(word))
    told = []
    for _ in range(3):
        again = Rig(rig.world, broker=rig.broker, belief=believing(WITHOUT_ANNA))
        told += [(o.command_id, o.reason) for o in again.run(3)]
    assert told == [(word.batch_id, RefusalReason.UNKNOWN_KEY)]


@pytest.mark.parametrize("topic", [APPROVALS, TOPICS.control])
def test_an_alarm_that_a_crash_cut_off_is_told_by_the_next_start(topic: str) -> None:
    """It was heard and not acknowledged: nothing of it is history yet."""
    rig, _ = used()

    def die_telling(number: int) -> None:
        if number == 1 and topic == APPROVALS:
            rig.broker.hear(CODEC.approval(word_on([waiting(rig.world)], STRANGER)))
        elif number == 1:
            rig.broker.switch(resume_word(0, STRANGER))
        dying.sink.fail = "the broker is gone"

    dying = Rig(rig.world, broker=rig.broker)
    with pytest.raises(Unready, match="the broker is gone"):
        dying.run(3, die_telling)
    told = [[o.reason for o in Rig(rig.world, broker=rig.broker).run(3)] for _ in range(2)]
    assert told == [[RefusalReason.UNKNOWN_KEY], []]


def test_an_alarm_is_told_while_commands_wait_for_a_resume() -> None:
    """Whoever tries to lift a stop is heard of before it is lifted."""
    rig = Rig(World("new", "old"))
    rig.broker.say(Said.RESUME)
    rig.broker.command(rig.world.command("old", "new"))

    def turn(number: int) -> None:
        if number == 1:
            rig.broker.say(Said.PAUSE)
        if number == 4:
            rig.broker.switch(resume_word(1, STRANGER))

    rig.run(8, turn)
    assert rig.meter.alarms == ["unknown_key"]
    assert rig.world.value(rig.world.target) == "old"


def test_what_somebody_let_go_on_who_is_trusted_no_more_stays_stopped_from_the_next_start() -> None:
    """No alarm, for it was believed in its time; another approver lets repairs go on."""
    rig = Rig(World("new", "old"))
    rig.broker.say(Said.RESUME)
    rig.run(3)
    again = Rig(rig.world, broker=rig.broker, belief=believing(WITHOUT_ANNA))
    again.broker.command(again.world.command("old", "new"))
    assert again.run(4) == []
    last = Rig(rig.world, broker=rig.broker, belief=believing(WITHOUT_ANNA))
    last.broker.switch(resume_word(0, BERT))
    assert [o.outcome for o in last.run(4)] == [Outcome.APPLIED]


def test_said_again_with_the_new_key_a_resume_outlives_the_old_one() -> None:
    """So a key is changed without a pause."""
    rig = Rig(World("new", "old"))
    rig.broker.say(Said.RESUME)
    rig.broker.switch(resume_word(0, BERT))
    rig.run(3)
    again = Rig(rig.world, broker=rig.broker, belief=believing(WITHOUT_ANNA))
    again.broker.command(again.world.command("old", "new"))
    assert [o.outcome for o in again.run(4)] == [Outcome.APPLIED]


@pytest.mark.parametrize("step", ["received", "row_locked", "before_commit"])
def test_a_flood_of_words_does_not_delay_a_panic(step: str) -> None:
    """Said behind thousands of words on batches, it is heard by the next look."""
    rig = Rig(World("new", "old"))
    rig.broker.say(Said.RESUME)
    rig.broker.command(rig.world.command("old", "new"))

    def flood(name: str) -> None:
        if name == step:
            for _ in range(1_100):
                rig.broker.hear(b"a flood")
            rig.broker.say(Said.PANIC)

    object.__setattr__(rig.loop.applier, "failpoint", flood)
    rig.run(3)
    assert rig.loop.words.is_stopped
    assert rig.world.value(rig.world.target) == "old"


def test_a_flood_on_its_own_topic_does_not_delay_a_panic_either() -> None:
    """Whatever was put before it."""
    rig = Rig(World("new", "old"))
    rig.broker.say(Said.RESUME)
    for _ in range(1_100):
        rig.broker.switch(b"a flood")
    rig.broker.say(Said.PANIC)
    assert rig.loop.words.asks_to_stop()


def test_words_without_a_trusted_key_leave_nothing_in_memory() -> None:
    """However many members they name: forged, of a stranger, of somebody who left, now or by the next start."""
    rig = Rig(World(None, "extra"), belief=believing(WITHOUT_ANNA))
    commands = [waiting(rig.world) for _ in range(20)]
    for word in (word_on(commands), word_on(commands, STRANGER), replace(word_on(commands), key_id=BERT.key_id)):
        rig.broker.hear(CODEC.approval(word))
    reasons = {o.reason for o in rig.run(3)}
    assert reasons == {RefusalReason.UNKNOWN_KEY, RefusalReason.FORGED}
    again = Rig(rig.world, broker=rig.broker, belief=believing(WITHOUT_ANNA))
    for words in (rig.loop.words, again.loop.words):
        assert (words._by_member, words._asked, words._heard, words.to_tell()) == ({}, {}, set(), [])


def test_a_flood_that_a_start_has_to_read_through_is_told_in_few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said while no applier ran: each is counted as an alarm, the first are told one by one, the others together."""
    monkeypatch.setattr("app.applier.words.REFUSED_WORDS_TOLD", 3)
    rig, commands = used()
    word = word_on([waiting(rig.world)], STRANGER)
    for _ in range(20):
        rig.broker.hear(CODEC.approval(word))
        rig.broker.hear(CODEC.approval(word_on([commands[0]])))
    again = Rig(rig.world, broker=rig.broker)
    assert len(again.loop.words.to_tell()) == 3 + 2
    told = [(o.reason, o.detail) for o in again.run(3)]
    where = f"a word of {APPROVALS}, at offset"
    assert told == [
        (RefusalReason.UNKNOWN_KEY, f"{where} 12"),
        (RefusalReason.REPLAYED, f"{where} 13"),
        (RefusalReason.UNKNOWN_KEY, f"{where} 14"),
        (RefusalReason.REPLAYED, f"{where} 15, and 18 more up to offset 51"),
        (RefusalReason.UNKNOWN_KEY, f"{where} 16, and 17 more up to offset 50"),
    ]
    assert sorted(again.meter.alarms) == ["replayed"] * 20 + ["unknown_key"] * 20
    assert again.loop.words.to_tell() == []
    assert Rig(rig.world, broker=rig.broker).run(3) == []


def test_words_behind_a_list_of_signers_that_cannot_be_read_are_not_lost() -> None:
    """They were fetched together; once the list is back each is heard, and none as a replay."""
    rig, commands = used()
    answers: Iterator[Signers | None] = iter([SIGNERS, None])

    def now() -> Signers:
        signers = next(answers, SIGNERS)
        if signers is None:
            raise Unready("the list cannot be read")
        return signers

    again = Rig(rig.world, broker=rig.broker)
    words = again.loop.words
    words._belief = Belief(DEPLOYMENT, now, verify)
    fresh = [waiting(rig.world) for _ in range(3)]
    for command in fresh:
        again.broker.approve(command)
    again.broker.say(Said.PANIC)
    with pytest.raises(Unready):
        words.poll()
    words.poll()
    assert [len(words.words_on(command)) for command in (commands[0], *fresh)] == [1, 1, 1, 1]
    assert words.is_stopped
    assert words.to_tell() == []


def test_a_start_that_is_tried_again_hears_nothing_twice() -> None:
    """A broker that went away in between makes no replays of what was heard."""
    rig, _ = used()
    fresh = waiting(rig.world)
    rig.broker.approve(fresh)
    words = Rig(rig.world, broker=rig.broker).loop.words
    words.start()
    assert words.to_tell() == []
    assert len(words.words_on(fresh)) == 1


def test_what_is_told_of_a_word_does_not_grow_with_it() -> None:
    """An outcome that no broker takes would end each applier that hears the word."""
    rig = Rig(World(None, "extra"))
    rig.broker.say(Said.RESUME)
    rig.broker.hear(CODEC.approval(replace(word_on([waiting(rig.world)]), batch_id=b"b" * 900_000)))
    (told,) = rig.run(3)
    assert (len(told.command_id), told.reason) == (DIGEST_BYTES, RefusalReason.FORGED)


def test_offsets_that_cannot_be_kept_end_nothing_and_are_kept_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that does not answer for a moment costs a repetition at most."""
    rig, _ = used()
    rig.broker.hear(CODEC.approval(word_on([waiting(rig.world)], STRANGER)))
    again = Rig(rig.world, broker=rig.broker)
    before = dict(rig.broker.told)

    def refuse(*_: object, **__: object) -> None:
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    with monkeypatch.context() as patched:
        patched.setattr(WordConsumer, "commit", refuse)
        again.loop._hear()
    assert rig.broker.told == before
    again.loop._hear()
    assert rig.broker.told[APPROVALS, 0] == before[APPROVALS, 0] + 1
    assert again.meter.alarms == ["unknown_key"]


def test_an_applier_that_is_behind_moves_no_offsets_back_and_tells_nothing_that_another_has_told() -> None:
    """Two of a deployment, or an old one that comes back: what was told of once is history for both."""
    rig, _ = used()
    slow = Rig(rig.world, broker=rig.broker)
    for _ in range(5):
        rig.broker.hear(CODEC.approval(word_on([waiting(rig.world)], STRANGER)))
    fast = Rig(rig.world, broker=rig.broker)
    fast.loop._hear()
    told = dict(rig.broker.told)
    slow.loop.words.were_told()
    assert rig.broker.told == told
    slow.loop._hear()
    assert (fast.meter.alarms, slow.meter.alarms) == (["unknown_key"] * 5, [])


def test_offsets_are_committed_again_as_a_broker_forgets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that nobody has committed for a week; and a slower applier may have moved them back in the same moment."""
    rig, _ = used()
    again = Rig(rig.world, broker=rig.broker)
    committed = []
    for after_s in (0, 59, 61):
        rig.broker.told.clear()
        with monkeypatch.context() as patched:
            now_s = time.monotonic() + after_s
            patched.setattr("app.applier.word_reader.time", SimpleNamespace(monotonic=lambda at=now_s: at))
            again.loop._hear()
        committed.append(bool(rig.broker.told))
    assert committed == [True, False, True]


KEY_IDS = st.sampled_from([ANNA.key_id, BERT.key_id, STRANGER.key_id, b""])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
SURROGATES = st.text(st.sampled_from("a\ud800\udfff\0"), max_size=3)
SWITCHES = st.fixed_dictionaries(
    {"said": st.sampled_from([*(said.value for said in Said)]) | JSON},
    optional={
        "by": SURROGATES | JSON,
        "at_ms": st.integers() | JSON,
        "why": SURROGATES | JSON,
        "lifts_through": st.integers(-2, 5) | JSON,
        "key_id": KEY_IDS.map(bytes.hex) | JSON,
        "signature": st.binary(max_size=70).map(bytes.hex) | JSON,
        "shard": SURROGATES | JSON,
    },
)
MILLISECONDS = st.integers(-(2**63), 2**63 - 1)
APPROVED = st.builds(
    Approval,
    batch_id=st.binary(max_size=40),
    members=st.lists(st.binary(max_size=50), max_size=3).map(tuple),
    approved=st.booleans(),
    said_at_ms=MILLISECONDS,
    expires_at_ms=MILLISECONDS,
    why=st.text(max_size=5),
    rehearses=st.booleans(),
    key_id=KEY_IDS,
    signature=st.binary(max_size=70),
)
RESUMES = SURROGATES.map(lambda by: encode_control(replace(resume_word(0), by=by)))
RECORDS = (
    st.tuples(st.just(TOPICS.control), RESUMES | SWITCHES.map(lambda said: json.dumps(said).encode()) | st.binary())
    | st.tuples(st.just(APPROVALS), APPROVED.map(CODEC.approval) | APPROVED.map(signed_word).map(CODEC.approval))
    | st.tuples(st.just(APPROVALS), st.binary(max_size=80).map(lambda end: b"\0\0\0\0\x03" + end))
)


@settings(max_examples=100)
@given(st.lists(RECORDS, min_size=1, max_size=4))
def test_whatever_a_record_holds_the_words_behind_it_are_heard(records: list[tuple[str, bytes]]) -> None:
    """None ends the process, lets repairs go on, or is told without end; what people say next counts."""
    rig = Rig(World("new", "old"))
    for topic, value in records:
        if topic == TOPICS.control:
            rig.broker.switch(value)
        else:
            rig.broker.hear(value)
    words = rig.loop.words
    rig.loop._hear()
    assert words.to_tell() == []
    assert words.is_stopped
    rig.broker.switch(resume_word(rig.broker.switched - 1))
    words.poll()
    assert not words.is_stopped
    rig.broker.switch(encode_control(Control(Said.PANIC, "eve", 0)))
    assert words.asks_to_stop()


def test_a_word_that_cannot_be_checked_is_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a fault of ours in judging it leaves those behind it heard."""

    def stumble(*_: object) -> RefusalReason:
        raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")

    rig = Rig(World("new", "old"))
    monkeypatch.setattr(Belief, "distrust", stumble)
    rig.broker.say(Said.RESUME)
    rig.broker.say(Said.PANIC)
    rig.loop.words.poll()
    assert rig.loop.words.is_stopped
    monkeypatch.undo()
    rig.broker.say(Said.RESUME)
    rig.loop.words.poll()
    assert not rig.loop.words.is_stopped
