"""What the command's exit code says; the same for every command."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes, as `diff` and its kin use them, and two of ours."""

    AGREE = 0  # it ran, and what was looked at agrees
    DRIFT = 1  # drift was found, or a verdict did not come out the same
    COULD_NOT_RUN = 2  # usage, configuration, connection
    UNKNOWN = 3  # it ran, but something is not proven
    REFUSED = 4  # a guard said no, or an approval is missing
    INTERRUPTED = 130
    TERMINATED = 143
