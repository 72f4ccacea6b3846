"""Every bound of the core, with its unit and the reason for its number."""

from __future__ import annotations

from typing import Final

BEACONS_KEPT: Final = 7_200
"""Beacons kept per store: an hour at two a second. A change before the oldest has a wide bracket, not a wrong one."""

STAYS_MAX: Final = 8_192
"""States kept of one row and store while it differs; beyond it the row is `unknown(hot)` until it calms down."""

PAST_STATES: Final = 4
"""States of the authority that are remembered so that an old value written back is called stale."""

RAW_KEYS_MAX: Final = 16
"""Raw keys remembered under one canonical key; of more, nobody can say any longer which are left."""

UNCOVERED_STAYS_MAX: Final = 4
"""States kept of one row and store before coverage; what was before them is not known, and blames nobody."""

SWEEP_KEYS: Final = 2_000
"""Keys read in one step of a sweep: some tens of milliseconds, so that folding is not held up."""

ECHO_GRACE_MS: Final = 60_000
"""How long a drift that a repair may have ended waits for the repair's ledger row to be seen through CDC."""

PENDING_BARRIERS_MAX: Final = 1_200
"""Barriers of one store that may wait for their chains: ten minutes of beacons; of more, some are dropped, evenly."""

KEY_BYTES_MAX: Final = 8_192
"""Bytes of a canonical key; a longer one has no form here, and its row is not compared. No index of SQL has as many."""

NOTE_BYTES_MAX: Final = 262_144
"""Bytes of keys in one record of rows that are not settled."""

KEYS_PER_NOTE_MAX: Final = 4_096
"""Keys in one packed record of unsettled keys: well below the broker's limit for a message."""

STAYS_TOLD_MAX: Final = 64
"""States of one row and store in a finding's evidence, so that a record stays far below the broker's limit."""

BREAKS_IN_A_ROW_MAX: Final = 16
"""Snapshots of one store that may be begun again before one is complete; more, and the store stays uncovered."""

PIPELINE_REPORTS_KEPT: Final = 600
"""Reports of one pipeline that wait for the replica's log: ten minutes of them; of more, the oldest are dropped."""

STAYS_WORTH_KEEPING: Final = 8
"""States of one row and store that are not pruned while it is judged: they are the evidence that a person reads."""

READ_MARGIN_MS: Final = 5_000
"""A read says nothing of a row that changed less than this before it: the change may not have been visible yet."""

GONE_ROWS_MAX: Final = 100_000
"""Rows of one partition that are nowhere any more and wait to be deleted from the table, while a log is not known
further or a pipeline may still bring what they were; of more, each stays there as absent until it is touched again."""
TRUNCATES_KEPT: Final = 16
"""Truncates of a table that are remembered until a pass over its rows; of more, rows are cut by the newest."""

PENDING_SLICES_MAX: Final = 256
"""Slices of one partition that wait to be held against its rows; of more, the oldest prove nothing."""

HELD_STATES_MAX: Final = 10_000
"""Changed states of one partition in memory before they are written, however much memory there is: a commit writes them
too, so that more would save nothing."""

AWAKE_ROWS_MAX: Final = 10_000
"""Live rows of one partition whose states are in memory, some kilobytes each; of more, those that may sleep do."""

BATCH_COMMANDS_MAX: Final = 2_000
"""Commands in one batch: about a hundred kilobytes in a word on it, and as much as a person can answer for."""

BATCH_GATHERS_MS: Final = 60_000
"""Proposals of one kind that were planned within the same minute form one batch."""

APPROVAL_LIFE_MS_MAX: Final = 7 * 86_400_000
"""A word counts for a week at most, whatever policy or person say."""

REHEARSAL_LIFE_MS: Final = 600_000
"""A rehearsal that was asked for is begun within this time or not at all; a batch of 2,000 rows needs some seconds."""

CLOCK_SKEW_MS_MAX: Final = 300_000
"""What was signed so far in the future means that two clocks disagree, and nobody knows by which to call it expired."""

REFUSED_WORDS_TOLD: Final = 1_000
"""Refused words that are told one by one; of more that an applier reads at once, it tells how many they were."""

WHY_LENGTH_MAX: Final = 500
"""Characters of a person's reason."""

PERSON_LENGTH_MAX: Final = 60
"""Characters of a person's name in the list of signers: three of them fit the ledger's column."""

NAME_LENGTH_MAX: Final = 200
"""Characters of an id in the history: ours have 64 at most, and an index of PostgreSQL bears some 2,700 bytes."""

QUARANTINED_KEY_BYTES_MAX: Final = 65_536
"""Bytes that are kept of a quarantined record's key: an index of a database bears far less."""

QUARANTINED_VALUE_BYTES_MAX: Final = 900_000
"""Bytes that are kept of its value: with its key and what is said of it, still below the million that clients send."""

AGGREGATE_ENTRIES: Final = 10_000
"""Groups of one aggregate and store that are held in memory where the contract says no other bound."""

AGGREGATE_CUTS_MAX: Final = 1_200
"""Beacons of one store that wait to be judged by another's: ten minutes of them; of more, the oldest are dropped."""

AGGREGATE_MOVES_MAX: Final = 200_000
"""Changes of groups of one store that are held until they are judged; beyond it judging begins anew."""

AGGREGATE_PENDING_MAX: Final = 200_000
"""Changes of rows of one store that wait for the beacon behind them; beyond it they wait no longer, nor are judged."""

AGGREGATE_DIGITS_MAX: Final = 200
"""Digits of a number that is summed: more are no number that anybody counts with."""

AGGREGATE_SCALE: Final = 38
"""Digits after the point of what is summed where the contract does not say how many."""

CANARY_ROWS_KEPT: Final = 1_000
"""Plantings that the canary remembers, so that what is told late is no false alarm: half a day at one a minute."""

FENCE_SCOPE_LENGTH_MAX: Final = 64
"""Characters of what a fence is for, as its column in the targets holds them."""
