"""Whether repairs may go on, by what people have said: anybody stops them, and only an approver lets them go on.

A stop needs no signature: whoever may write the topic may stop. A `resume` is signed, and names the last record that
its author had read: it lifts the stops up to there and none after, so that one that is played again lifts nothing new.
Before the first `resume` nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Said(Enum):
    """What can be said of repairs as a whole."""

    PAUSE = "pause"  # before the next commit
    PANIC = "panic"  # before the next commit
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class Control:
    """One word, who says to have said it, when (wall clock), and why.

    `shard` is the one that it speaks of (`app.core.quarantine`), empty where it speaks of all. `lifts_through` is the
    offset of the last record of the topic that a `resume` speaks of, -1 of none. `key_id` and `signature` are a
    `resume`'s; its person is whom the key belongs to.
    """

    said: Said
    by: str
    at_ms: int
    why: str = ""
    lifts_through: int = -1
    key_id: bytes = b""
    signature: bytes = b""
    shard: str = ""


@dataclass(frozen=True, slots=True)
class Switch:
    """Where the switch stands. `lifted_through` is None before the first `resume`."""

    stopped_at: int = -1
    lifted_through: int | None = None

    @property
    def is_on(self) -> bool:
        """Tell whether repairs may go on."""
        return self.lifted_through is not None and self.stopped_at <= self.lifted_through

    def after(self, word: Control, offset: int) -> Switch:
        """Return where it stands after a word at an offset; a `resume` must have been found to be an approver's.

        One that speaks of records that were not there yet would lift stops that nobody has read: it changes nothing.
        """
        if word.said is not Said.RESUME:
            return Switch(offset, self.lifted_through)
        if word.lifts_through >= offset:
            return self
        lifted = word.lifts_through if self.lifted_through is None else max(self.lifted_through, word.lifts_through)
        return Switch(self.stopped_at, lifted)
