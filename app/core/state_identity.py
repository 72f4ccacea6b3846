"""What a partition's state is a state of, as a record in it, so that a foreign, stale or unfinished one is noticed.

The record is the first that a partition's changelog ever gets, and is never written again. So a folder that holds
anything holds it, and a changelog without it lost its beginning, or is another topic of the same name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from app.core.journal import META

IDENTITY_KEY: Final = META + b"i"
STATE_FORMAT: Final = 1
"""The format of everything in the state taken together; it rises when another reader would be wrong about it.

The workers' group and changelog are named by it: a state of an older format is never read, it is made anew.
"""


@dataclass(frozen=True, slots=True)
class StateIdentity:
    """What one partition's state belongs to; `changelog_id` is the broker's id of the topic, new with each creation."""

    deployment: str
    partition: int
    changelog_id: str

    def record(self) -> bytes:
        """Return the record that a new state begins with."""
        told = [STATE_FORMAT, self.deployment, self.partition, self.changelog_id]
        return json.dumps(told, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class ChangelogPast:
    """What the broker says of one partition: the changelog's first offset and its end, and the observations' offset."""

    begin: int
    end: int
    committed: int | None


def why_lost(stored: int | None, past: ChangelogPast) -> str | None:
    """Return why a state that stands at changelog offset `stored` cannot be completed from its changelog."""
    if stored is not None and stored >= past.end:
        return f"the state holds record {stored} of its changelog, which ends at {past.end}: it was cut or made again"
    if past.begin > (-1 if stored is None else stored) + 1:
        return f"records of the changelog before {past.begin} were deleted before they were read"
    if past.end == 0 and past.committed:
        return f"observations were folded up to {past.committed}, but their changelog is empty"
    return None
