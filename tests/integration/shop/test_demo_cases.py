"""Every kind of damage on a real pipeline: detected, called by its name, repaired and proven. One test for each.

All damages are planted together, once; each test looks at what became of its own. The judge that says so reads the
topics with a bare consumer and both databases by SQL.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from demo_parts.campaign import Bars, Campaign, Case
from demo_parts.performance import choose, judge_rows, perform_damages
from demo_parts.running import Running
from judge_parts.opinion import Opinion
from judge_parts.rows import ledger_rows

pytestmark = [pytest.mark.stack, pytest.mark.own_stack]


@dataclass
class Performed:
    """The campaign when nothing more was to come."""

    running: Running
    campaign: Campaign
    opinion: Opinion

    def case(self, name: str) -> Case:
        """Return one damage's case."""
        return next(case for case in self.campaign.cases if case.damage.name == name)


@pytest.fixture(scope="module")
def performed(running: Running) -> Performed:
    """Plant every damage and follow them to their ends."""
    campaign, opinion = perform_damages(running, choose(running, ()), lambda *_: None, print)
    return Performed(running, campaign, opinion)


def _all_is_well(performed: Performed, name: str, kind: str, *, refusal: str = "") -> None:
    case = performed.case(name)
    assert case.faults() == []
    assert case.kind == kind
    if refusal:
        assert case.refusal == refusal
    else:
        assert case.verified_after_s is not None


def test_rogue_update_of_one_column_is_different(performed: Performed) -> None:
    """A column changed behind the pipeline's back is found and put right."""
    _all_is_well(performed, "rogue_update", "different")


def test_deleted_row_is_missing(performed: Performed) -> None:
    """A row deleted from the copy is inserted again."""
    _all_is_well(performed, "row_deleted", "missing")


def test_inserted_row_is_extra_and_deleted_after_approval(performed: Performed) -> None:
    """A row that the authority never had is deleted, but only on a person's word."""
    _all_is_well(performed, "row_inserted", "extra")
    outcomes = [f.story.outcomes for f in performed.case("row_inserted").found if f.story]
    assert [(o[0][1], o[0][2]) for o in outcomes] == [("held", "not_approved")]


def test_change_that_the_pipeline_lost_is_stale(performed: Performed) -> None:
    """A change that the sink never wrote, because its offset was skipped, is found and written."""
    _all_is_well(performed, "lost_change", "stale")


def test_old_value_written_back_is_stale(performed: Performed) -> None:
    """A row put back to one of the authority's earlier states is called stale."""
    _all_is_well(performed, "old_value_back", "stale")


@pytest.mark.parametrize(
    "mangling", ["decimal_truncated", "trailing_space", "other_case", "timestamp_shifted", "emoji_lost"]
)
def test_mangled_value_is_different(performed: Performed, mangling: str) -> None:
    """A value that lost digits, case, an hour or an emoji on its way is found and put right."""
    _all_is_well(performed, mangling, "different")


def test_delete_that_did_not_arrive_is_extra_and_done_after_approval(performed: Performed) -> None:
    """A delete that the pipeline lost leaves an extra row, which is deleted on a person's word."""
    _all_is_well(performed, "delete_not_arrived", "extra")


def test_changed_primary_key_is_missing_and_extra(performed: Performed) -> None:
    """A row that moved to another key is missing under the old one and extra under the new one."""
    _all_is_well(performed, "primary_key_changed", "missing and extra")


def test_truncated_table_is_one_incident_and_comes_back_after_approval(performed: Performed) -> None:
    """A truncated table is one incident with all its rows, and is filled again on a person's word."""
    _all_is_well(performed, "table_truncated", "missing")
    assert performed.case("table_truncated").incident_seen


def test_rogue_change_of_a_toasted_column_is_different(performed: Performed) -> None:
    """A large column changed in the copy is found although the authority's last event left it out."""
    _all_is_well(performed, "toast_rogue", "different")


def test_placeholder_written_by_the_pipeline_is_different(performed: Performed) -> None:
    """The text that stands for an untouched large column is no value, though the pipeline writes it as one."""
    _all_is_well(performed, "sin_placeholder", "different")


def test_nan_that_became_zero_is_different_and_refused(performed: Performed) -> None:
    """A column that cannot hold NaN is told of, and its repair refused with the reason."""
    _all_is_well(performed, "sin_nan", "different", refusal="not_held_by_column")


def test_number_squeezed_into_a_double_is_different_and_refused(performed: Performed) -> None:
    """A number with more digits than a double holds is told of, and its repair refused with the reason."""
    _all_is_well(performed, "sin_bare_numeric", "different", refusal="not_held_by_column")


def test_no_false_alarm_was_raised(performed: Performed) -> None:
    """While all this happened under load, nothing else was called drift."""
    raised = (*performed.opinion.false_alarms, *performed.opinion.refuted)
    assert [(s.entity, s.key, s.kind) for s in raised] == []


def test_detection_keeps_to_its_time(performed: Performed) -> None:
    """Each damage is known within its window and 10 s, the median within its window and 5 s."""
    assert Bars(performed.running.window_of).faults(performed.campaign.cases) == []


def test_no_repair_stands_twice_in_the_ledger(performed: Performed) -> None:
    """The copy's own ledger holds one applied command for each repaired row."""
    rows = ledger_rows(performed.running.places.admin(performed.running.shop.copy.kind))
    applied = [row["key_hash"] for row in rows if row["kind"] == "command" and row["outcome"] == "applied"]
    assert len(applied) == len(set(applied))
    assert len(applied) == sum(
        f.story is not None and f.story.applied_at is not None for c in performed.campaign.cases for f in c.found
    )


def test_both_databases_are_equal_at_the_end(performed: Performed) -> None:
    """Row by row, by plain SQL, the copy is what the origin is; only refused rows differ."""
    performed.running.load.stop()
    performed.running.await_proven(60)
    assert judge_rows(performed.running, performed.campaign) == []
