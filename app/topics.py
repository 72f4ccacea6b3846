"""Every topic of ours, declared once: who writes it, who reads it, what is in it, how long it stays.

A name is `<deployment>.<dataset>.v<version>`, of [a-z0-9.-] only: `.` and `_` clash in Kafka's metric names. Topics
that carry keys in plain are internal; every other one carries keys sealed and is partitioned by a keyed hash, so that
its partitions say nothing about a key either. CDC topics are Debezium's and are listed by the contracts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from app.core.state_identity import STATE_FORMAT

_DAY_MS: Final = 86_400_000
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]*")
_NAME_LENGTH_MAX: Final = 99
"""Kafka allows 249, but Faust and Connect add prefixes and suffixes of their own."""


class Cleanup(Enum):
    """What Kafka does with old records. A topic that records what people did is never compacted."""

    DELETE = "delete"
    COMPACT = "compact"


class Part(Enum):
    """Who may touch a topic; each has credentials of its own."""

    WORKER = "worker"
    APPLIER = "applier"
    CONDUCTOR = "conductor"
    OPERATOR = "operator"  # a person, through the command line
    SUBSCRIBER = "subscriber"  # anybody who wants to know


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `spread` topics have a partition per partition of `observations`, the others have one.

    `schema` names the Avro schema of the value; None means a packed or plain format that `value` describes.
    `retention_ms` of None keeps records for ever.
    """

    dataset: str
    key: str
    value: str
    schema: str | None
    spread: bool
    cleanup: Cleanup
    retention_ms: int | None
    writers: frozenset[Part]
    readers: frozenset[Part]
    version: int = 1

    def name(self, deployment: str) -> str:
        """Return the topic's name in a deployment; `ValueError` where Kafka or its metrics would not bear it."""
        name = f"{deployment}.{self.dataset}.v{self.version}"
        if _NAME.fullmatch(name) is None or len(name) > _NAME_LENGTH_MAX:
            raise ValueError(f"topic name {name!r}: only [a-z0-9.-], at most {_NAME_LENGTH_MAX} characters")
        return name

    def partitions(self, observations: int) -> int:
        """Return how many partitions it has where `observations` has that many."""
        return observations if self.spread else 1

    def configuration(self) -> dict[str, str]:
        """Return the topic's own Kafka settings, as the broker names them."""
        settings = {
            "cleanup.policy": self.cleanup.value,
            "retention.ms": "-1" if self.retention_ms is None else str(self.retention_ms),
        }
        if self.cleanup is Cleanup.COMPACT:
            # Only closed segments are compacted: a reader of the newest records should not read a week of them.
            settings |= {"segment.ms": "600000", "min.cleanable.dirty.ratio": "0.1"}
        return settings


OBSERVATIONS: Final = Topic(
    dataset="observations",
    key="none; the partition is the row's",
    value="packed blocks, marks and barriers (app.codec.blocks); keys in plain",
    schema=None,
    spread=True,
    cleanup=Cleanup.DELETE,
    retention_ms=7 * _DAY_MS,
    writers=frozenset({Part.WORKER}),
    readers=frozenset({Part.WORKER}),
    # A state that is made anew needs them from the change topics' beginnings: behind what an older group has left of
    # its own, they would count as redelivered.
    version=STATE_FORMAT,
)
DRIFTS: Final = Topic(
    dataset="drifts",
    key="finding id",
    value="a step in the life of a drift, with what it was judged on",
    schema="finding",
    spread=True,
    cleanup=Cleanup.DELETE,
    retention_ms=365 * _DAY_MS,
    writers=frozenset({Part.WORKER}),
    readers=frozenset(Part),
)
REPAIRS: Final = Topic(
    dataset="repairs",
    key="command id",
    value="a guarded write to be made, signed by the planner, or by the person who undoes one; without values",
    schema="repair_command",
    spread=True,
    cleanup=Cleanup.DELETE,
    retention_ms=365 * _DAY_MS,
    writers=frozenset({Part.WORKER, Part.OPERATOR}),
    readers=frozenset(Part),
)
APPROVALS: Final = Topic(
    dataset="approvals",
    key="batch id",
    value="a person's signed word on a batch of commands; in every partition that has some of them",
    schema="approval",
    spread=True,
    cleanup=Cleanup.DELETE,
    retention_ms=None,
    writers=frozenset({Part.OPERATOR}),
    readers=frozenset(Part),
)
OUTCOMES: Final = Topic(
    dataset="outcomes",
    key="command id; of a word that is refused, the batch id",
    value="what became of a command, or why a person's word was refused",
    schema="outcome",
    spread=True,
    cleanup=Cleanup.DELETE,
    retention_ms=None,
    writers=frozenset({Part.APPLIER}),
    readers=frozenset(Part),
)
REHEARSALS: Final = Topic(
    dataset="rehearsals",
    key="batch id",
    value="what came of trying a command of a batch and rolling it back; without values",
    schema="rehearsal",
    spread=True,
    cleanup=Cleanup.DELETE,
    retention_ms=365 * _DAY_MS,
    writers=frozenset({Part.APPLIER}),
    readers=frozenset(Part),
)
STATUS: Final = Topic(
    dataset="status",
    key="entity, store and partition of `observations`, joined by `/`",
    value="how far one entity in one store is proven",
    schema="status",
    spread=False,
    cleanup=Cleanup.COMPACT,
    retention_ms=None,
    writers=frozenset({Part.WORKER, Part.APPLIER}),
    readers=frozenset(Part),
)
QUARANTINE: Final = Topic(
    dataset="quarantine",
    key="topic, partition and offset of the record, joined by `/`",
    value="a record that could not be read, with its bytes and the reason; internal, since the bytes are a row's",
    schema="quarantine",
    spread=False,
    cleanup=Cleanup.DELETE,
    retention_ms=30 * _DAY_MS,
    writers=frozenset({Part.WORKER, Part.APPLIER}),
    readers=frozenset({Part.WORKER, Part.OPERATOR}),
)
REREADS: Final = Topic(
    dataset="rereads",
    key="entity and store, joined by `/`",
    value="how far a table has been read again (JSON); the key where the pass stands is sealed",
    schema=None,
    spread=False,
    cleanup=Cleanup.COMPACT,
    retention_ms=None,
    writers=frozenset({Part.CONDUCTOR}),
    readers=frozenset({Part.CONDUCTOR, Part.OPERATOR}),
)
AGGREGATES: Final = Topic(
    dataset="aggregates",
    key="entity, replica and aggregate, joined by `/`",
    value="how one aggregate stands in one replica (JSON); without figures",
    schema=None,
    spread=False,
    cleanup=Cleanup.COMPACT,
    retention_ms=None,
    writers=frozenset({Part.WORKER}),
    readers=frozenset(Part),
)
CONTROL: Final = Topic(
    dataset="control",
    key="what is switched",
    value="stops of all or of one shard, by a person, the breaker or a quarantine; an approver's `resume` (JSON)",
    schema=None,
    spread=False,
    cleanup=Cleanup.DELETE,
    retention_ms=None,
    writers=frozenset({Part.OPERATOR, Part.APPLIER}),
    readers=frozenset(Part),
)

CHANGELOG_CONFIGURATION: Final[Mapping[str, str]] = {
    "cleanup.policy": "compact",
    # Only closed segments are compacted, and a recovery reads what was not.
    "segment.bytes": str(128 * 1024 * 1024),
    "min.cleanable.dirty.ratio": "0.3",
    # A worker that was away for less than this still reads what was deleted, on top of what it holds.
    "delete.retention.ms": str(7 * _DAY_MS),
}
"""Kafka's settings of the topic that holds the worker's state, which Faust names."""

TABLE: Final = "state"
"""The worker's one table."""


def group_of(deployment: str) -> str:
    """Return the consumer group of all workers of a deployment.

    It carries the format of their state: a version with another one is another group, which reads all topics from their
    beginnings into a changelog of its own, and what the version before it knew stays as it was, to go back to.
    """
    return f"{deployment}-worker-{STATE_FORMAT}"


def changelog_of(deployment: str) -> str:
    """Return the topic that a deployment's state is kept in, as Faust names it: group, table, `changelog`."""
    return f"{group_of(deployment)}-{TABLE}-changelog"


ALL: Final[tuple[Topic, ...]] = (
    OBSERVATIONS,
    DRIFTS,
    REPAIRS,
    APPROVALS,
    OUTCOMES,
    REHEARSALS,
    STATUS,
    QUARANTINE,
    REREADS,
    AGGREGATES,
    CONTROL,
)

CARRIES_KEYS_IN_PLAIN: Final[frozenset[Topic]] = frozenset({OBSERVATIONS, QUARANTINE})
"""What subscribers must not read."""
