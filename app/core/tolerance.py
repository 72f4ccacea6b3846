"""Whether the drift of an entity in a replica is within what its contract tolerates.

That governs alarms alone: a drift that is tolerated is told, counted and repaired like any other. What is not known is
not tolerated.
"""

from __future__ import annotations

from enum import Enum

from app.core.contract import Tolerated

_MILLION = 1_000_000


class Alarm(Enum):
    """Why drift that is there raises an alarm. A closed list."""

    NONE_TOLERATED = "none_tolerated"  # the contract tolerates none
    OPEN_ROWS = "open_rows"
    OPEN_PER_MILLION = "open_per_million"
    OPENED_PER_HOUR = "opened_per_hour"
    TABLE_SIZE_UNKNOWN = "table_size_unknown"  # a share of the table is tolerated, and how large it is nobody knows


def alarm_of(tolerated: Tolerated | None, open_rows: int, opened_in_hour: int, table_rows: int | None) -> Alarm | None:
    """Return why open drifts raise an alarm; None where there are none, or all are tolerated.

    `opened_in_hour` are those found within the last hour, open or not; `table_rows` is None where it is not known.

    >>> alarm_of(Tolerated(open_rows=5), 5, 0, None)
    >>> alarm_of(Tolerated(open_rows=5), 6, 0, None)
    <Alarm.OPEN_ROWS: 'open_rows'>
    """
    if not open_rows:
        return None
    if tolerated is None:
        return Alarm.NONE_TOLERATED
    if tolerated.open_rows is not None and open_rows > tolerated.open_rows:
        return Alarm.OPEN_ROWS
    if tolerated.opened_per_hour is not None and opened_in_hour > tolerated.opened_per_hour:
        return Alarm.OPENED_PER_HOUR
    if tolerated.open_per_million is not None:
        if table_rows is None:
            return Alarm.TABLE_SIZE_UNKNOWN
        if open_rows * _MILLION > tolerated.open_per_million * table_rows:
            return Alarm.OPEN_PER_MILLION
    return None
