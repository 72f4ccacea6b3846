"""The judge of the repairs drill names each fault that is planted, and says nothing where there is none."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from repair_drill.moments import STEPS, all_moments, deaths, server_ends
from repair_drill.steps import Hand
from repair_judge.evidence import Entry, Evidence, Held, Told
from repair_judge.judge import Judgement, judge
from repair_judge.story import COVERED, Kind, Repair, Row, Side, Write
from repair_judge.undone import judge_undone
from repair_judge.ways import APPLIED, AUTHORITY_MOVED, INVERTED, LEFT, ROW_MOVED, ways_of

from app.applier.failpoints import FAILPOINTS, LOOP_FAILPOINTS

TRUTH: Row = ("true", 1, 0, 5, "its own note", b"there")
WRONG: Row = ("false", 2, 1, 6, "a note", b"here")
REPAIRED: Row = (*TRUTH[:COVERED], *WRONG[COVERED:])
INSERTED: Row = (*TRUTH[:COVERED], None, None)
THE_APPLICATIONS: Row = ("application", 3, 1, 7)
STRANGER = Held(("other", 4, 1, 8, "a note", b"x"), "")


def written(row: Row, others: Row = WRONG[COVERED:]) -> Row:
    """Return a row as the application leaves it."""
    return (*row[:COVERED], *others)


@dataclass
class World:
    """Six repairs: one of each kind done, one refused, one inverted, and one that the application wrote afterwards."""

    repairs: list[Repair] = field(default_factory=list)
    target: dict[int, Held] = field(default_factory=lambda: {90: STRANGER})
    authority: dict[int, Held] = field(default_factory=lambda: {90: STRANGER})
    elsewhere: dict[int, Held] = field(default_factory=lambda: {1: STRANGER})
    ledger: dict[str, list[Entry]] = field(default_factory=dict)
    outcomes: dict[str, list[Told]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        applied = [Entry("command", "applied", "")]
        self._add(1, Kind.CHANGED, Held(REPAIRED, "a"), APPLIED, applied)
        self._add(2, Kind.MISSING, Held(INSERTED, "a"), APPLIED, [*applied, Entry("check", "applied", "")])
        self._add(3, Kind.EXTRA, None, APPLIED, applied)
        early = Write(Side.TARGET, "row_looked_at", THE_APPLICATIONS)
        kept = Held(written(THE_APPLICATIONS), "w")
        self._add(4, Kind.CHANGED, kept, ROW_MOVED, [Entry("refusal", "refused", "row_moved")], early)
        inverted = [*applied, Entry("check", "inverted", "authority_moved"), Entry("inverse", "applied", "")]
        self._add(5, Kind.MISSING, None, INVERTED, inverted, Write(Side.AUTHORITY, "committed", THE_APPLICATIONS))
        self.authority[5] = Held(written(THE_APPLICATIONS, TRUTH[COVERED:]), "w")
        late = Write(Side.TARGET, "row_written", THE_APPLICATIONS)
        self._add(6, Kind.CHANGED, Held(written(THE_APPLICATIONS), "aw"), APPLIED, applied, late)
        # Said again after a crash, and held for a moment.
        self.outcomes["id6"] += [Told("held", "row_locked"), APPLIED]

    def _add(self, number: int, kind: Kind, left: Held | None, end: Told, entries: list[Entry], *writes: Write) -> None:
        before = WRONG if kind is not Kind.MISSING else None
        truth = TRUTH if kind is not Kind.EXTRA else None
        self.repairs.append(Repair(number, kind, before, truth, f"id{number}", list(writes)))
        self.target |= {number: left} if left else {}
        self.authority |= {number: Held(truth, "")} if truth else {}
        self.ledger[f"id{number}"] = list(entries)
        self.outcomes[f"id{number}"] = [end]

    @property
    def before(self) -> Evidence:
        """What was there when nothing was repaired."""
        target = {repair.number: Held(repair.before, "") for repair in self.repairs if repair.before}
        authority = {repair.number: Held(repair.truth, "") for repair in self.repairs if repair.truth}
        return Evidence({90: STRANGER} | target, {90: STRANGER} | authority, {1: STRANGER})

    @property
    def after(self) -> Evidence:
        """What is there now."""
        return Evidence(self.target, self.authority, self.elsewhere, self.ledger, self.outcomes)

    def judged(self) -> Judgement:
        """Judge."""
        return judge(self.repairs, self.before, self.after)


def test_an_honest_applier_has_no_fault() -> None:
    """Done, refused, taken back, and written over afterwards by the application: each as its outcome says."""
    judged = World().judged()
    assert judged.faults == []
    assert judged.outcomes == {
        "applied": 4,
        "refused row_moved": 1,
        "inverted authority_moved": 1,
    }
    assert judged.writes == 3


def _lost_update(world: World) -> None:
    world.target[6] = Held(REPAIRED, "wa")


def _lost_insert(world: World) -> None:
    del world.target[4]


def _double_effect(world: World) -> None:
    world.target[1] = Held(REPAIRED, "aa")


def _refused_and_written(world: World) -> None:
    world.target[4] = replace(world.target[4], story="aw")


def _applied_and_not_written(world: World) -> None:
    world.target[1] = Held(WRONG, "")


def _not_deleted(world: World) -> None:
    world.target[3] = Held(WRONG, "")


def _another_column(world: World) -> None:
    world.target[1] = Held((*REPAIRED[:COVERED], "another note", b"here"), "a")


def _a_stranger_touched(world: World) -> None:
    world.target[90] = replace(STRANGER, story="a")


def _a_stranger_added(world: World) -> None:
    world.target[91] = STRANGER


def _another_table_touched(world: World) -> None:
    world.elsewhere[1] = replace(STRANGER, story="a")


def _authority_touched(world: World) -> None:
    world.authority[1] = Held(REPAIRED, "a")


def _no_outcome(world: World) -> None:
    world.outcomes["id1"] = [Told("held", "row_locked")]


def _two_outcomes(world: World) -> None:
    world.outcomes["id1"].append(ROW_MOVED)


def _refused_for_nothing(world: World) -> None:
    world.outcomes["id1"] = [ROW_MOVED]
    world.ledger["id1"] = [Entry("refusal", "refused", "row_moved")]
    world.target[1] = Held(WRONG, "")


def _wrong_reason(world: World) -> None:
    world.outcomes["id4"] = [AUTHORITY_MOVED]
    world.ledger["id4"] = [Entry("refusal", "refused", "authority_moved")]


def _held_for_a_budget(world: World) -> None:
    world.outcomes["id1"].insert(0, Told("held", "over_budget"))


def _no_ledger_row(world: World) -> None:
    world.ledger["id1"] = []


def _two_ledger_rows(world: World) -> None:
    world.ledger["id1"] *= 2


def _no_check(world: World) -> None:
    world.ledger["id2"].pop()


def _of_no_command(world: World) -> None:
    world.ledger["id99"] = [Entry("command", "applied", "")]


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (_lost_update, "a lost update"),
        (_lost_insert, "a lost update"),
        (_double_effect, "a double effect"),
        (_refused_and_written, "an effect without its outcome"),
        (_applied_and_not_written, "an outcome without its effect"),
        (_not_deleted, "a wrong row"),
        (_another_column, "a wrong row"),
        (_a_stranger_touched, "a row that is none of its business"),
        (_a_stranger_added, "a row that is none of its business"),
        (_another_table_touched, "a row that is none of its business"),
        (_authority_touched, "an authority that was written"),
        (_no_outcome, "a missing outcome"),
        (_two_outcomes, "two outcomes of one command"),
        (_refused_for_nothing, "a wrong outcome"),
        (_wrong_reason, "a wrong outcome"),
        (_held_for_a_budget, "held for no good reason"),
        (_no_ledger_row, "a ledger that says otherwise"),
        (_two_ledger_rows, "a ledger that says otherwise"),
        (_no_check, "a ledger that says otherwise"),
        (_of_no_command, "a ledger row of no command"),
    ],
)
def test_each_fault_is_named(spoil: Callable[[World], None], fault: str) -> None:
    """What is planted is found under its name."""
    world = World()
    spoil(world)
    assert fault in world.judged().counts


# -- all undone ----------------------------------------------------------------------------------------------------


def undone(world: World) -> Evidence:
    """Return what is there after an honest undo: the five that stand are asked, two of their rows have moved on."""
    target = {number: Held(WRONG, "aa") for number in (1, 3)} | {n: world.target[n] for n in (4, 6, 90)}
    said = {f"undo{n}": [APPLIED] for n in (1, 2, 3)} | {f"undo{n}": [ROW_MOVED] for n in (5, 6)}
    return replace(world.after, target=target, outcomes=world.outcomes | said)


def judged_undone(world: World, after: Evidence) -> Judgement:
    """Judge."""
    return judge_undone(world.repairs, world.before, world.after, after, 5)


def test_an_honest_undo_has_no_fault() -> None:
    """All is as it was but for the database's own column, and the application's rows are as it left them."""
    world = World()
    judged = judged_undone(world, undone(world))
    assert judged.faults == []
    assert judged.outcomes == {"applied": 3, "refused row_moved": 2}


@pytest.mark.parametrize(
    ("number", "left", "fault"),
    [
        (1, Held(REPAIRED, "a"), "a row that is not what it was"),
        (1, Held((*WRONG[:COVERED], None, b"here"), "aa"), "a row that is not what it was"),
        (2, Held(INSERTED, "a"), "a row that is not what it was"),
        (3, None, "a row that is not what it was"),
        (6, Held(WRONG, "awa"), "a lost update"),
        (90, replace(STRANGER, story="a"), "a row that is none of its business"),
    ],
)
def test_what_an_undo_left_or_took_is_named(number: int, left: Held | None, fault: str) -> None:
    """A row that is not as it was, in any column, and a row of the application that was taken back."""
    world = World()
    after = undone(world)
    others = {n: held for n, held in after.target.items() if n != number}
    judged = judged_undone(world, replace(after, target=others | ({number: left} if left else {})))
    assert set(judged.counts) == {fault}


def test_an_undo_that_said_nothing_or_another_thing_is_named() -> None:
    """Each that was asked has one outcome, and only a row that has moved on is refused."""
    world = World()
    after = undone(world)
    silent = {name: said for name, said in after.outcomes.items() if name != "undo1"}
    assert set(judged_undone(world, replace(after, outcomes=silent)).counts) == {"a missing outcome"}
    refused = dict(after.outcomes) | {"undo1": [ROW_MOVED]}
    assert set(judged_undone(world, replace(after, outcomes=refused)).counts) == {"a wrong outcome"}


# -- what the drill does, and what may come of it ------------------------------------------------------------------


def test_an_applier_dies_at_every_step_there_is() -> None:
    """No step that the product names is left out, and none is made up."""
    planned = deaths(random.Random(1), 4)  # noqa: S311 - a drill's dice
    assert [death.step for death in planned if death.step] == [*FAILPOINTS, *LOOP_FAILPOINTS] == [*STEPS]
    assert [bool(death.passage) for death in planned[len(STEPS) :]] == [True, False, True, False]
    assert all(death.after_s > 0 for death in planned if not death.step and not death.passage)


def test_the_application_writes_behind_every_step() -> None:
    """On either side as far as a row is in hand there, and for each kind of drift."""
    written_at = {step for moment in all_moments() for _, step in moment.writes}
    assert written_at == set(STEPS)
    ordinary = {(m.kind, *m.writes[0]) for m in all_moments() if len(m.writes) == 1}
    assert {(kind, side, "row_locked") for kind in Kind for side in Side} <= ordinary


@pytest.mark.parametrize(
    ("kind", "side", "step", "ways"),
    [
        (Kind.CHANGED, Side.TARGET, "ledger_row_inserted", {ROW_MOVED}),
        (Kind.CHANGED, Side.TARGET, "row_locked", {APPLIED, ROW_MOVED}),
        (Kind.EXTRA, Side.TARGET, "committed", {APPLIED}),
        (Kind.MISSING, Side.TARGET, "authority_read", {ROW_MOVED}),
        (Kind.MISSING, Side.TARGET, "row_written", {APPLIED, ROW_MOVED}),
        (Kind.CHANGED, Side.AUTHORITY, "row_locked", {AUTHORITY_MOVED}),
        (Kind.CHANGED, Side.AUTHORITY, "authority_read", {APPLIED, AUTHORITY_MOVED}),
        (Kind.MISSING, Side.AUTHORITY, "authority_read", {INVERTED, AUTHORITY_MOVED}),
        (Kind.MISSING, Side.AUTHORITY, "committed", {INVERTED}),
        (Kind.MISSING, Side.AUTHORITY, "outcome_sent", {APPLIED}),
        (Kind.MISSING, Side.TARGET, "inverse_written", {INVERTED, LEFT}),
    ],
)
def test_which_ends_a_repair_may_have(kind: Kind, side: Side, step: str, ways: set[Told]) -> None:
    """What came before the lock, or before the authority was read, is never written over."""
    assert ways_of(Repair(1, kind, None, None, "id", [Write(side, step, ())])) == ways


def test_a_row_nobody_wrote_must_be_repaired() -> None:
    """Crashes of the applier and of the server are no reason to refuse anything."""
    assert ways_of(Repair(1, Kind.CHANGED, WRONG, TRUTH)) == {APPLIED}


def test_which_rows_a_step_was_made_for() -> None:
    """Before a transaction all that was handed over, in it its rows, after it what was committed."""
    hand = Hand()
    hand.take("commands", {"1", "2", "3"})
    assert hand.at("received") == {"1", "2", "3"}
    hand.take("rows", {"1", "2"})
    assert hand.at("row_locked") == hand.at("committed") == {"1", "2"}
    hand.take("rows", {"3"})
    assert (hand.at("row_locked"), hand.at("outcome_sent")) == ({"3"}, {"1", "2"})
    hand.take("alone", {"3"})
    assert hand.at("refusal_recorded") == {"3"}
    hand.take("rows", {"4"})
    assert hand.at("check_recorded") == set()


def test_servers_end_at_steps_of_a_transaction_spread_over_the_waves() -> None:
    """So many as asked for, each in a wave of its own."""
    ends = server_ends(121, 5)
    assert len(ends) == len(set(ends.values())) == 5
    assert max(ends) < 121
    assert server_ends(10, 0) == {}
