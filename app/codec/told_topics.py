"""What workers tell: the topics on which they say how far they are and what they found, and the codec of both."""

from __future__ import annotations

from dataclasses import dataclass

from app.codec.records import RecordCodec
from app.topics import DRIFTS, STATUS


@dataclass(frozen=True, slots=True)
class ToldTopics:
    """The topics of statuses and of findings, and the codec of both."""

    statuses: str
    findings: str
    codec: RecordCodec

    @classmethod
    def of(cls, deployment: str, codec: RecordCodec) -> ToldTopics:
        """Return those of a deployment."""
        return cls(STATUS.name(deployment), DRIFTS.name(deployment), codec)

    @property
    def topics(self) -> list[str]:
        """Both."""
        return [self.statuses, self.findings]
