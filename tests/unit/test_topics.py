"""The declared topics: names that Kafka and its metrics bear, and who may read what."""

from __future__ import annotations

import re

import pytest

from app import topics
from app.codec.records import FIXED_IDS
from app.topics import ALL, CARRIES_KEYS_IN_PLAIN, Cleanup, Part


def test_names_are_deployment_dataset_version_of_few_characters() -> None:
    """`.` and `_` together clash in Kafka's metric names."""
    for topic in ALL:
        assert re.fullmatch(rf"shop-1\.{topic.dataset}\.v1", topic.name("shop-1"))
        assert re.fullmatch(r"[a-z0-9.-]+", topic.name("shop-1"))


@pytest.mark.parametrize("deployment", ["Shop", "shop_1", "", ".", "a b", "x" * 120, "shop\n"])
def test_a_deployment_that_would_make_a_bad_name_is_refused(deployment: str) -> None:
    """At the name, not at the broker."""
    with pytest.raises(ValueError, match="topic name"):
        topics.DRIFTS.name(deployment)


def test_each_topic_is_declared_once() -> None:
    """No two have a name in common, and none is left out of the list."""
    declared = [value for value in vars(topics).values() if isinstance(value, topics.Topic)]
    assert len({topic.name("d") for topic in ALL}) == len(ALL)
    assert set(declared) == set(ALL)


def test_every_value_schema_exists_and_is_used() -> None:
    """A schema without a topic, or a topic without its schema, is a mistake."""
    assert {topic.schema for topic in ALL if topic.schema} == set(FIXED_IDS)


def test_subscribers_read_no_topic_with_keys_in_plain() -> None:
    """Keys of rows are personal data."""
    for topic in CARRIES_KEYS_IN_PLAIN:
        assert Part.SUBSCRIBER not in topic.readers


def test_only_the_applier_writes_outcomes_and_only_people_approve() -> None:
    """Each part has credentials of its own."""
    assert topics.OUTCOMES.writers == {Part.APPLIER}
    assert topics.APPROVALS.writers == {Part.OPERATOR}
    # The applier may stop itself; to go on needs a signature.
    assert topics.CONTROL.writers == {Part.OPERATOR, Part.APPLIER}


def test_what_people_did_and_what_was_done_is_never_compacted_nor_dropped() -> None:
    """Approvals, control words and outcomes are the audit trail."""
    for topic in (topics.APPROVALS, topics.CONTROL, topics.OUTCOMES):
        assert topic.configuration() == {"cleanup.policy": "delete", "retention.ms": "-1"}


def test_topics_of_rows_have_the_partitions_of_observations() -> None:
    """A row's records have the same partition number everywhere."""
    for topic in (topics.OBSERVATIONS, topics.DRIFTS, topics.REPAIRS, topics.APPROVALS, topics.OUTCOMES):
        assert topic.partitions(7) == 7
    assert topics.STATUS.partitions(7) == 1


def test_a_compacted_topic_closes_its_segments() -> None:
    """Else a reader of the newest statuses reads a week of them."""
    assert topics.STATUS.cleanup is Cleanup.COMPACT
    assert topics.STATUS.configuration()["segment.ms"] == "600000"
