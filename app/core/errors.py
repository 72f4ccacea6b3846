"""The few errors of the product, by blame. Each says where, what, and what to do; none carries a row value."""

from __future__ import annotations


class DriftlineError(Exception):
    """Base of every error that is an instruction to a person or to the runner."""

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        """Render `where: what (hint)`, leaving out what is empty."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} ({self.hint})" if self.hint else text


class Undecodable(DriftlineError):
    """A record that cannot be read: it goes to quarantine with its bytes and this reason, the partition goes on."""

    def __init__(self, reason: str, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what, where=where, hint=hint)
        self.reason = reason


class Unmappable(DriftlineError):
    """A value that does not fit the contract's type: the key becomes `unknown(schema)`, nothing is guessed."""

    def __init__(self, field: str, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what, where=where, hint=hint)
        self.field = field


class Unready(DriftlineError):
    """A part that is not there yet or any more (broker, registry, database): hold and try again, lose nothing."""


class StateDamaged(Unready):
    """A partition's state on disk is not what was written there: the next start deletes it and reads it again."""


class DiskFull(Unready):
    """Too little space is left where the state lives: nothing more is written there until some is freed."""


class StateLost(DriftlineError):
    """State that was acknowledged is in no place any more: going on would call what is missing agreed."""


class ContractViolation(DriftlineError):
    """A contract, connector or setting that would make verdicts lie: refuse to start."""
