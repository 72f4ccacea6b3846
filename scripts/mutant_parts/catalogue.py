"""The mutants: which rule, in which module, and how it is broken. What is replaced must be there exactly once."""

from dataclasses import dataclass, replace
from enum import Enum


class Rule(Enum):
    """What the broken rule belongs to."""

    VERDICT = "verdict"
    PASSAGES = "passages"
    POSITIONS = "positions"
    CHAINS = "chains"
    BARRIERS = "barriers"
    EPOCHS = "epochs"
    TRUNCATES = "truncates"
    REREADS = "rereads"
    KEYS = "keys"
    PIPELINES = "pipelines"
    RESTARTS = "restarts"
    BEACONS = "beacon writers"
    REPAIRS = "repairs"


@dataclass(frozen=True)
class Edit:
    """`before` in the source of a module becomes `after`."""

    module: str
    before: str
    after: str


@dataclass(frozen=True)
class Mutant:
    """One rule broken: `before` in the source of `module` becomes `after`; `says` is what it does then.

    `also` breaks with it what would hide it: two rules that each keep from the same harm. `among` are the faults by
    which the rule matters: it is hunted in worlds that have these and no others. None: in worlds as they are drawn.
    """

    name: str
    rule: Rule
    module: str
    says: str
    before: str
    after: str
    also: tuple[Edit, ...] = ()
    among: tuple[str, ...] = ()

    @property
    def edits(self) -> tuple[Edit, ...]:
        """All that is broken."""
        return (Edit(self.module, self.before, self.after), *self.also)


_OLDER_CHANGES = (
    Edit(
        "app.core.fold",
        "                if at < chain.newest:\n                    continue\n"
        "                if not flag & INCREMENTAL_READ:\n                    chain.newest = at\n",
        "                chain.newest = max(chain.newest, at)\n",
    ),
    Edit(
        "app.core.fold",
        "            if at >= newest:\n                newest = at\n                found.append((n, at))\n",
        "            newest = max(newest, at)\n            found.append((n, at))\n",
    ),
)
_OLDER_OFFSETS = Edit("app.core.fold", "            if offsets[n] < reached:\n                continue\n", "")
_LATEST = "        left_ms = min(replica[i + 1].latest_ms, watermark_ms) if i + 1 < len(replica) else watermark_ms\n"

_RULES: tuple[Mutant, ...] = (
    # -- verdict
    Mutant(
        "judged on arrival",
        Rule.VERDICT,
        "app.core.verdict",
        "a state that began behind the common time is judged",
        "if shown.earliest_ms > deadline_ms or shown.earliest_ms >= watermark_ms:",
        "if shown.earliest_ms > deadline_ms + 10**9:",
        among=("rogue_writes", "authority_connector_stalls"),
    ),
    Mutant(
        "what sleeps is settled",
        Rule.VERDICT,
        "app.core.fold",
        "a row that slept is taken for one that had agreed when it is touched",
        "            self._find_at_rest(source.entity, row, state)\n        else:\n            settle(source, state)\n",
        "            self._find_at_rest(source.entity, row, state)\n        settle(source, state)\n",
        among=("rogue_writes", "authority_connector_stalls"),
    ),
    Mutant(
        "oldest stay",
        Rule.VERDICT,
        "app.core.verdict",
        "the authority's first stay in a state decides, not its latest",
        "return ks[n - 1] if n else None",
        "return ks[0] if n else None",
        among=("old_states_return",),
    ),
    Mutant(
        "vouched beyond the replica",
        Rule.VERDICT,
        "app.core.verdict",
        "a state is vouched for after the replica has left it",
        "so_far_ms = max(so_far_ms, min(until_ms, left_ms))",
        "so_far_ms = max(so_far_ms, until_ms)",
        among=("rogue_writes",),
    ),
    Mutant(
        "vouched beyond the authority",
        Rule.VERDICT,
        "app.core.verdict",
        "a state is vouched for after the authority has left it",
        "so_far_ms = max(so_far_ms, min(until_ms, left_ms))",
        "so_far_ms = max(so_far_ms, left_ms)",
        among=("pipeline_doubles",),
    ),
    Mutant(
        "bracket against the replica",
        Rule.VERDICT,
        "app.core.verdict",
        "the early end of the bracket in which the authority left",
        "until_ms = authority[k + 1].latest_ms if",
        "until_ms = authority[k + 1].earliest_ms if",
        among=("pipeline_alters",),
    ),
    Mutant(
        "early end of the replica's bracket",
        Rule.VERDICT,
        "app.core.verdict",
        "the early end of the bracket in which the replica left",
        _LATEST,
        _LATEST.replace("latest_ms,", "earliest_ms,", 1),
        among=("rogue_inserts",),
    ),
    Mutant(
        "unknown vouches for nothing",
        Rule.VERDICT,
        "app.core.verdict",
        "a state of the authority that nobody knows vouches for none",
        "    return sorted({*ks, *unknown}) if unknown else ks\n",
        "    return ks\n",
        among=("values_unmappable",),
    ),
    Mutant(
        "no window",
        Rule.VERDICT,
        "app.core.verdict",
        "the deadline is the moment up to which was vouched",
        "deadline_ms = vouched_ms + window_ms\n",
        "deadline_ms = vouched_ms\n",
    ),
    Mutant(
        "judged at the common time",
        Rule.VERDICT,
        "app.core.verdict",
        "not at the deadline: what came after it counts",
        "vouched_until(replica, authority, vouched_ms + window_ms, watermark_ms, vouched_ms)",
        "vouched_until(replica, authority, watermark_ms, watermark_ms, vouched_ms)",
        among=("rogue_writes", "authority_connector_stalls"),
    ),
    Mutant(
        "vouching goes back",
        Rule.VERDICT,
        "app.core.verdict",
        "an older stay takes away what a newer one vouched for",
        "so_far_ms = max(so_far_ms, min(until_ms, left_ms))",
        "so_far_ms = min(until_ms, left_ms)",
        among=("pipeline_alters",),
    ),
    Mutant(
        "followed whenever",
        Rule.VERDICT,
        "app.core.verdict",
        "an agreement is concluded however late it came",
        "return newest.earliest_ms <= deadline_ms and before.earliest_ms <= deadline_ms",
        "return True",
        among=("table_truncated", "truncated_rows_return", "authority_connector_stalls"),
    ),
    Mutant(
        "concluded at once",
        Rule.VERDICT,
        "app.core.fold",
        "an agreement is concluded before the logs are known beyond it",
        "            if began_ms > known_ms:\n",
        "            if began_ms > 2**62:\n",
        among=("pipeline_doubles", "authority_connector_stalls"),
    ),
    Mutant(
        "what agrees again has no deadline",
        Rule.VERDICT,
        "app.core.fold",
        "a drift that is over is not looked for until the logs are known beyond its end",
        "    return NEVER if followed_by(shown, truth, deadline_ms) else deadline_ms\n",
        "    return NEVER if shown[-1].digest == truth[-1].digest else deadline_ms\n",
        among=("authority_connector_stalls", "connector_snapshots_again", "partitions_reorder", "rogue_writes"),
    ),
    Mutant(
        "agree before settled",
        Rule.VERDICT,
        "app.core.verdict",
        "two newest states agree though one may not have begun",
        "if shown.latest_ms <= watermark_ms and truth.latest_ms <= watermark_ms:",
        "if shown.latest_ms <= 2**62:",
        among=("table_truncated", "authority_connector_stalls"),
    ),
    Mutant(
        "missing for extra",
        Rule.VERDICT,
        "app.core.verdict",
        "the kind of a drift is named from the wrong side",
        "    if shown == ABSENT:\n        return DriftKind.MISSING",
        "    if truth == ABSENT:\n        return DriftKind.MISSING",
        among=("pipeline_keeps_deleted",),
    ),
    Mutant(
        "stale for all",
        Rule.VERDICT,
        "app.core.verdict",
        "every other value is called stale",
        "    if shown in past:\n",
        "    if shown:\n",
        among=("pipeline_alters",),
    ),
    Mutant(
        "no past",
        Rule.VERDICT,
        "app.core.verdict",
        "a state that the authority has left is called different, not stale",
        "    if shown in past:\n",
        "    if False:\n",
        among=("old_copy_restored",),
    ),
    Mutant(
        "skipped states are blamed",
        Rule.VERDICT,
        "app.core.verdict",
        "a replica has to show each state of the authority",
        "        if k is not None:\n            until_ms",
        "        if k is not None and k <= i + 1:\n            until_ms",
        among=("pipeline_skips",),
    ),
    Mutant(
        "pruned before it was shown",
        Rule.VERDICT,
        "app.core.judging",
        "of a busy row the authority's states are forgotten before the replica has shown them",
        "while keep < len(truth.stays) - 1 and truth.stays[keep + 1].latest_ms <= vouched_ms:",
        "while keep < len(truth.stays) - 1:",
        among=("row_hot", "replica_connector_stalls"),
    ),
    Mutant(
        "trimmed whatever followed",
        Rule.VERDICT,
        "app.core.judging",
        "a busy row forgets states that its replica never showed in time",
        "    if not surely_followed(shown[: there + 1], truth[: then + 1], window_ms, replica.vouched_until_ms):\n"
        "        return False\n",
        "",
        also=(
            Edit(
                "app.core.judging",
                "    if verdict.verdict is Verdict.DRIFT:\n        return False\n    replica.v",
                "    replica.v",
            ),
        ),
        among=("row_hot", "pipeline_stalls", "partitions_reorder"),
    ),
    Mutant(
        "unknown for ever",
        Rule.VERDICT,
        "app.core.fold",
        "a row that was unknown is not judged again though both stores show one state again",
        "is_unknown = row in live.unknown",
        "is_unknown = False",
        among=("records_unreadable", "partitions_reorder"),
    ),
    Mutant(
        "left out is unchanged",
        Rule.VERDICT,
        "app.core.rows",
        "what an unreadable change did to a left-out value is forgotten",
        '        side.groups = b""  # what this change did to a field that the next one leaves out, nobody knows\n',
        "        pass\n",
        among=("values_left_out", "values_unmappable"),
    ),
    # -- rows on their way
    Mutant(
        "followed by another state",
        Rule.PASSAGES,
        "app.core.passage",
        "a replica has followed as soon as its row changed after the authority's, whatever it shows",
        "        return mine is None and (other is None or other.digest == digest)\n",
        "        return mine is None\n",
        among=("pipeline_alters",),
    ),
    Mutant(
        "followed however late",
        Rule.PASSAGES,
        "app.core.passage",
        "a row that is on its way agrees when both stores have gone on to one state, long after its window too",
        " or truth.earliest_ms > deadline_ms or shown.earliest_ms > deadline_ms:\n",
        ":\n",
        among=("pipeline_stalls", "partitions_reorder", "worker_stalls"),
    ),
    Mutant(
        "on its way under any raw key",
        Rule.PASSAGES,
        "app.core.passage",
        "a change of another raw key is taken for one of the row that is there",
        "        if raw_key != rest[_RAW_KEY_OF[number]] or digest == rest[_DIGEST_OF[number]]:\n",
        "        if digest == rest[_DIGEST_OF[number]]:\n",
        among=("keys_collide",),
    ),
    Mutant(
        "on its way from behind a truncate",
        Rule.PASSAGES,
        "app.core.fold",
        "a row that a truncate has cut goes on from what it showed before",
        "        return None if any(at <= floor for at, floor in floors) else passage\n",
        "        return passage\n",
        among=("table_truncated",),
    ),
    # -- positions
    Mutant(
        "places by the wrong end",
        Rule.POSITIONS,
        "app.core.position",
        "offsets in a binlog compare by their low bytes",
        '_BINLOG = struct.Struct(">IQIB")',
        '_BINLOG = struct.Struct("<IQIB")',
    ),
    Mutant(
        "stream before snapshot",
        Rule.POSITIONS,
        "app.core.position",
        "a change that is streamed is older than what the snapshot read",
        "SNAPSHOT: Final = 0\nSTREAM: Final = 1\n",
        "SNAPSHOT: Final = 1\nSTREAM: Final = 0\n",
    ),
    Mutant(
        "older positions count",
        Rule.POSITIONS,
        "app.core.rows",
        "a change at or below the row's position is taken",
        "    if at <= side.position:\n",
        "    if at < BEFORE_ALL:\n",
        also=_OLDER_CHANGES,
        among=("connector_repeats", "values_left_out"),
    ),
    Mutant(
        "positions without epochs",
        Rule.POSITIONS,
        "app.core.position",
        "an epoch is no part of a position",
        "return _HEAD.pack(epoch, phase) + place",
        "return _HEAD.pack(0, phase) + place",
        among=("connector_snapshots_again",),
    ),
    Mutant(
        "brackets by the stores' clocks",
        Rule.POSITIONS,
        "app.core.rows",
        "a change happened when its store's clock says that its statement began",
        "    return stay_of((digest, at, earliest_ms, latest_ms, block",
        "    earliest_ms = latest_ms = (block.transactions[n] >> 20) - 2**31 + source.last_issued_ms % 1\n"
        "    return stay_of((digest, at, earliest_ms, latest_ms, block",
    ),
    Mutant(
        "clocks that are set once",
        Rule.POSITIONS,
        "app.core.rows",
        "a change did not begin before its store's clock says so, as the first beacon has set it",
        "    return stay_of((digest, at, earliest_ms, latest_ms, block",
        "    stamp_ms = block.transactions[n] >> 20\n"
        "    if stamp_ms and earliest_ms > 0:\n"
        "        zero_ms = source.progress.writers_began_ms.setdefault(-1 - block.store, earliest_ms - stamp_ms)\n"
        "        earliest_ms = max(earliest_ms, stamp_ms + zero_ms)\n"
        "    return stay_of((digest, at, earliest_ms, latest_ms, block",
        also=(
            Edit(
                "app.core.judging",
                "        earliest_ms, latest_ms = timeline.bracket(stay.position)\n",
                "        earliest_ms, latest_ms = timeline.bracket(stay.position)\n"
                "        earliest_ms = max(earliest_ms, stay.earliest_ms)\n",
            ),
        ),
        among=("beacon_clock_steps",),
    ),
    Mutant(
        "ordered by the stores' clocks",
        Rule.POSITIONS,
        "app.core.rows",
        "a change that its store's clock calls older than the newest is taken for a redelivery",
        "    if at <= side.position:\n        behind_floor",
        "    if at <= side.position or 1 < block.transactions[n] < side.stays[-1].transaction:\n        behind_floor",
        among=("store_clock_steps",),
    ),
    # -- chains
    Mutant(
        "a link jumps",
        Rule.CHAINS,
        "app.core.progress",
        "a link that begins above what was reached is taken",
        "return chain is None or link.begin <= chain.reached",
        "return True",
        among=("blocks_lost",),
    ),
    Mutant(
        "links must meet",
        Rule.CHAINS,
        "app.core.progress",
        "a link that begins below what was reached is dropped, though it ends above",
        "return chain is None or link.begin <= chain.reached",
        "return chain is None or link.begin == chain.reached",
        among=("ingest_crashes",),
    ),
    Mutant(
        "reach goes back",
        Rule.CHAINS,
        "app.core.progress",
        "a link that comes again takes the chain back",
        "chain.reached = max(chain.reached, link.end)",
        "chain.reached = link.end",
        among=("blocks_repeat",),
    ),
    Mutant(
        "redelivered changes count",
        Rule.CHAINS,
        "app.core.fold",
        "a change that was read before is taken of a row that is gone since",
        "        if offset >= reached:\n            chain.streaming",
        "        if True:\n            chain.streaming",
        also=(_OLDER_OFFSETS, *_OLDER_CHANGES),
        among=("offsets_go_back", "blocks_repeat", "beacons_slow"),
    ),
    Mutant(
        "redelivered blocks count",
        Rule.CHAINS,
        "app.core.fold",
        "a change that was read before is taken, below its row's position or not",
        "        if offset >= reached:\n            chain.streaming",
        "        if True:\n            chain.streaming",
        also=(
            _OLDER_OFFSETS,
            *_OLDER_CHANGES,
            Edit("app.core.rows", "    if at <= side.position:\n", "    if at < BEFORE_ALL:\n"),
        ),
        among=("offsets_go_back", "partitions_reorder"),
    ),
    Mutant(
        "chains before rows",
        Rule.CHAINS,
        "app.core.fold",
        "a commit writes what was reached before the rows",
        "        self._let_sleep()\n        return written\n",
        "        self._let_sleep()\n        return written[::-1]\n",
        among=("commits_torn",),
    ),
    Mutant(
        "chains of what is not written",
        Rule.CHAINS,
        "app.core.fold",
        "a commit that leaves newer changes to the next one writes that they were read",
        "*before, *rows, *behind]",
        "*before, *rows, *behind, *(chain_record(k, self.progress.chains[at]) for at, k in self._extended.items())]",
        among=("worker_crashes",),
    ),
    # -- barriers
    Mutant(
        "every barrier is reached",
        Rule.BARRIERS,
        "app.core.progress",
        "the common time moves with the beacons, whatever was read",
        "            if all(chain.newest > at or",
        "            if True or all(chain.newest > at or",
        among=("partitions_reorder",),
    ),
    Mutant(
        "one partition is enough",
        Rule.BARRIERS,
        "app.core.progress",
        "a barrier is reached when one of the partitions has reached it",
        "            if all(chain.newest > at or",
        "            if any(chain.newest > at or",
        among=("partitions_reorder",),
    ),
    Mutant(
        "ends do not count",
        Rule.BARRIERS,
        "app.core.progress",
        "a partition that shows nothing behind a beacon never reaches it",
        "chain.newest > at or chain.reached >= ends.get(place, _UNTOLD)",
        "chain.newest > at",
    ),
    Mutant(
        "older writers count",
        Rule.BARRIERS,
        "app.core.progress",
        "beacons of a writer that was replaced move time",
        "        if self.superseded(beacon):\n",
        "        if False:\n",
        among=("beacon_writers_double", "beacon_clock_steps"),
    ),
    Mutant(
        "issue for acknowledgement",
        Rule.BARRIERS,
        "app.core.timeline",
        "a change ends when the next beacon was issued, not when it was acknowledged",
        "latest_ms = self.acknowledged_ms[i] if",
        "latest_ms = self.issued_ms[i] if",
        among=("beacons_slow",),
    ),
    Mutant(
        "changes begin late",
        Rule.BARRIERS,
        "app.core.timeline",
        "a change is not before the beacon behind it",
        "earliest_ms = self.issued_ms[i - 1] if i else EVER",
        "earliest_ms = self.issued_ms[min(i, len(self.positions) - 1)] if i else EVER",
        among=("pipeline_alters",),
    ),
    Mutant(
        "time goes back",
        Rule.BARRIERS,
        "app.core.progress",
        "a watermark follows a barrier that comes late",
        "        if held is not None and issued_ms <= held and entity.covered_at_ms[i] is not None:\n"
        "            return False\n"
        "        entity.watermark_ms[i] = issued_ms if held is None else max(held, issued_ms)\n",
        "        if held is not None and issued_ms == held and entity.covered_at_ms[i] is not None:\n"
        "            return False\n"
        "        entity.watermark_ms[i] = issued_ms - (7_000 if issued_ms // 500 % 17 == 0 else 0)\n",
    ),
    # -- epochs
    Mutant(
        "snapshots break nothing",
        Rule.EPOCHS,
        "app.core.progress",
        "a snapshot at another place is of the epoch that is there",
        "        if epoch is None or epoch >= store.log_began:\n            return epoch\n",
        "        return len(store.snapshots) - 1 if store.snapshots else None\n",
        among=("connector_snapshots_again",),
    ),
    Mutant(
        "covered before its snapshot",
        Rule.EPOCHS,
        "app.core.progress",
        "the first beacon covers, whether or not a snapshot was complete",
        "if entity.covered_at_ms[i] is None and snapshot_complete and",
        "if entity.covered_at_ms[i] is None and",
        among=("ingest_crashes", "log_restarts", "partitions_reorder"),
    ),
    Mutant(
        "forgotten states are judged",
        Rule.EPOCHS,
        "app.core.progress",
        "a pair is judged from coverage on, though states that its rows showed since were forgotten",
        "        if forgotten_ms > min(my_ms, their_ms):\n            return None\n",
        "        forgotten_ms = EVER\n",
        among=("partitions_reorder", "pipeline_stalls", "replica_covered_late", "row_hot"),
    ),
    Mutant(
        "a restart forgets nothing",
        Rule.EPOCHS,
        "app.core.fold",
        "after a restart a pair is judged from coverage on, whatever was forgotten before it",
        "            self._record(forgotten_record(entity))\n",
        "            pass\n",
        among=("worker_crashes", "snapshot_takes_long", "row_hot"),
    ),
    Mutant(
        "a snapshot of the old log is a third one",
        Rule.EPOCHS,
        "app.core.progress",
        "a partition that lags behind a new log uncovers its store again",
        "return epoch if lags and store.snapshots[-1] else None",
        "return None",
        among=("authority_connector_stalls", "log_restarts", "partitions_reorder"),
    ),
    Mutant(
        "unseen rows stay",
        Rule.EPOCHS,
        "app.core.rows",
        "a row that the new snapshot did not show keeps its state",
        "    if side.stays[-1].digest == ABSENT or not _was_before_snapshot(store, side):\n",
        "    if True:\n",
        among=("connector_snapshots_again",),
    ),
    Mutant(
        "unseen rows come back unbroken",
        Rule.EPOCHS,
        "app.core.rows",
        "a row that came back after a snapshot had not shown it was never away",
        "            _drop_unseen(source.store, side)\n",
        "            pass\n",
        among=("connector_snapshots_again", "partitions_reorder"),
    ),
    Mutant(
        "other rows of a key outlive a snapshot",
        Rule.KEYS,
        "app.core.rows",
        "a row under another raw key that the new snapshot did not show is held for one that is there",
        '            side.raw_keys = b""  # what is there under another one',
        "            pass  # what is there under another one",
        among=("keys_collide", "connector_snapshots_again", "rogue_deletes", "rogue_inserts"),
    ),
    Mutant(
        "forgotten while one is not swept",
        Rule.EPOCHS,
        "app.core.rows",
        "what a row showed before coverage is forgotten as it is touched, before a sweep has judged it",
        "        settles = [] if entity.unswept else sorted(entity.judged)\n",
        "        settles = sorted(entity.judged)\n",
        among=("partitions_reorder", "pipeline_loses", "rogue_deletes", "rogue_writes"),
    ),
    Mutant(
        "a break uncovers nothing",
        Rule.EPOCHS,
        "app.core.progress",
        "coverage outlives a snapshot that is taken again",
        "                    entity.covered_at_ms[i] = None\n",
        "                    pass\n",
        among=("connector_snapshots_again",),
    ),
    Mutant(
        "judged from the first store on",
        Rule.EPOCHS,
        "app.core.progress",
        "a pair is judged from the moment at which one of its stores was covered",
        "return max(mine, theirs, my_ms, forgotten_ms)",
        "return min(mine, theirs, my_ms)",
        among=("replica_covered_late",),
    ),
    Mutant(
        "one store is enough",
        Rule.EPOCHS,
        "app.core.progress",
        "a pair is judged though one of its stores was never read",
        "        if mine is None or theirs is None or my_ms is None or their_ms is None:\n            return None\n",
        "        if mine is None or my_ms is None:\n            return None\n"
        "        theirs, their_ms = theirs or 0, my_ms if their_ms is None else their_ms\n",
        also=(
            Edit(
                "app.core.progress",
                "return None if mine is None or theirs is None else min(mine, theirs)",
                "return None if mine is None else mine if theirs is None else min(mine, theirs)",
            ),
        ),
        among=("replica_never_covered",),
    ),
    Mutant(
        "verified is taken back by a touch",
        Rule.VERDICT,
        "app.core.rows",
        "a row that was at rest counts as waiting since it was judged last, as soon as it is touched",
        "        if is_one and truth.latest_ms <= known_ms and shown.latest_ms <= known_ms:\n",
        "        if False:\n",
        among=("table_truncated", "pipeline_loses"),
    ),
    Mutant(
        "verified is taken back by an agreement",
        Rule.VERDICT,
        "app.core.live",
        "a row counts as waiting since before its change, once it agrees and until that is concluded",
        "                through_ms = min(through_ms, shared_until(shown, truth, replica.vouched_until_ms))\n",
        "                through_ms = min(through_ms, replica.vouched_until_ms)\n",
        among=("replica_connector_stalls",),
    ),
    Mutant(
        "verified unread",
        Rule.EPOCHS,
        "app.core.fold",
        "a store that was never read counts as verified as far as its authority is known",
        "        if common_ms is None or not swept:\n            return None\n        return max(",
        "        if common_ms is None or not swept:\n            return progress.watermark_ms[0]\n        return max(",
        among=("replica_never_covered",),
    ),
    Mutant(
        "vouching begins with time",
        Rule.EPOCHS,
        "app.core.judging",
        "a row is judged by what was before coverage",
        "        replica.vouched_until_ms = max(replica.vouched_until_ms, from_ms)\n",
        "        replica.vouched_until_ms = max(replica.vouched_until_ms, 0)\n",
        among=("replica_covered_late",),
    ),
    Mutant(
        "a snapshot's state is new",
        Rule.EPOCHS,
        "app.core.judging",
        "what a snapshot read began when it was read",
        "            earliest_ms = EVER  # a snapshot's state",
        "            earliest_ms = earliest_ms  # a snapshot's state",
        among=("connector_lies", "connector_snapshots_again", "rogue_writes"),
    ),
    Mutant(
        "no sweep at coverage",
        Rule.EPOCHS,
        "app.core.fold",
        "rows that nobody touches are not judged",
        "            if awaited:\n",
        "            if False:\n",
    ),
    # -- truncates
    Mutant(
        "truncates are lost",
        Rule.TRUNCATES,
        "app.core.progress",
        "a truncated table keeps its rows",
        "        insort(cuts, at)\n        del cuts[:-TRUNCATES_KEPT]\n        entity.floor[cut.store] = cuts[-1]\n",
        "        del cuts[:-TRUNCATES_KEPT]\n",
        among=("table_truncated",),
    ),
    Mutant(
        "the newest truncate alone counts",
        Rule.TRUNCATES,
        "app.core.progress",
        "of two truncates before a pass over the rows the first is forgotten",
        "        insort(cuts, at)\n",
        "        cuts[:] = [max(at, *cuts)] if cuts else [at]\n",
        among=("authority_truncated", "rogue_writes", "table_truncated"),
    ),
    Mutant(
        "no rows behind a floor",
        Rule.TRUNCATES,
        "app.core.rows",
        "what a row showed before a truncate that overtook it is lost",
        "    if digest == before.digest:\n",
        "    if True:\n",
        among=("table_truncated", "partitions_reorder"),
    ),
    Mutant(
        "nothing is kept behind a floor",
        Rule.TRUNCATES,
        "app.core.rows",
        "what a truncated row had of values that its log leaves out is forgotten at once",
        "        # The groups stay: a change that the truncate has overtaken may leave some out.\n",
        '        side.groups = b""\n',
        among=("values_left_out", "table_truncated", "partitions_reorder", "pipeline_doubles"),
    ),
    Mutant(
        "no floor in a sleep",
        Rule.TRUNCATES,
        "app.core.fold",
        "a row whose state is in the table only keeps what a truncate has cut",
        "        if apply_floors(self.progress, entity, state):\n            self._dirty[row] = None\n        else:\n",
        "        if False:\n            self._dirty[row] = None\n        else:\n",
        among=("table_truncated", "pipeline_stalls"),
    ),
    Mutant(
        "inserts begin nothing",
        Rule.TRUNCATES,
        "app.core.rows",
        "an insert of what is shown says nothing of what ended it",
        "    begins_anew = flags & CREATED and digest != ABSENT\n",
        "    begins_anew = False\n",
        among=("table_truncated", "truncated_rows_return", "partitions_reorder"),
    ),
    Mutant(
        "floors without a sweep",
        Rule.TRUNCATES,
        "app.core.fold",
        "rows cut by a truncate are not judged",
        "        self._sweeps.ask(cut.entity, entity.judged & {cut.store - 1} if cut.store else entity.judged)\n",
        "",
        among=("table_truncated",),
    ),
    Mutant(
        "ledgers and signals stay in the log that was",
        Rule.EPOCHS,
        "app.core.progress",
        "chains of no table do not follow when their log restarts",
        "            if complete:\n                self._join(store, ends)\n",
        "",
        among=("log_restarts", "rows_hidden"),
    ),
    Mutant(
        "held against the first snapshot",
        Rule.EPOCHS,
        "app.core.progress",
        "the first beacons of a log that began anew are held against the snapshot of the log that was",
        "beacon.place < store.snapshots[chain.epoch]",
        "beacon.place < store.snapshots[0]",
        among=("log_restarts", "snapshot_takes_long", "replica_covered_late"),
    ),
    Mutant(
        "a restart is not seen",
        Rule.EPOCHS,
        "app.core.progress",
        "a log that begins anew goes on in the epoch that was",
        '        if restarted:\n            self.break_epoch(beacon.store, b"", log_restarted=True)\n',
        "",
        among=("log_restarts",),
    ),
    # -- rereads
    Mutant(
        "reads are believed at once",
        Rule.REREADS,
        "app.core.reread",
        "a read counts though the row may have changed while it was read",
        "    return read_ms != EVER and changed_ms + READ_MARGIN_MS > read_ms\n",
        "    return False\n",
        among=("slices_read_amid_changes",),
    ),
    Mutant(
        "missed rows stay",
        Rule.REREADS,
        "app.core.reread",
        "a row that its slice did not show keeps its state",
        "    if side.stays[-1].digest == ABSENT or side.position >= pending.begun:\n        return False\n",
        "    if True:\n        return False\n",
        among=("rows_hidden",),
    ),
    Mutant(
        "slices are held against too early",
        Rule.REREADS,
        "app.core.reread",
        "before the log is known beyond the slice",
        "entity.known_to[s.store] > s.told_at]",
        "True]",
        among=("slices_read_amid_changes", "partitions_reorder"),
    ),
    Mutant(
        "gaps are not kept",
        Rule.REREADS,
        "app.core.reread",
        "a gap that was not acknowledged is forgotten by a restart",
        "        self.writes[GAP_RECORDS + finding_id] = json.dumps(value).encode()\n",
        "",
        among=("findings_unacknowledged", "worker_crashes", "rows_hidden"),
    ),
    Mutant(
        "slices of another epoch count",
        Rule.REREADS,
        "app.core.reread",
        "a slice that was begun before coverage is held against what it covers",
        "        and epoch_of(pending.told_at) == store.epoch\n"
        "        and store.snapshots[-1] < place_of(pending.begun) <= place_of(pending.told_at)\n",
        "",
        among=("log_restarts", "partitions_reorder", "replica_connector_stalls", "slices_read_amid_changes"),
    ),
    # -- keys
    Mutant(
        "two rows are one",
        Rule.KEYS,
        "app.core.rows",
        "rows whose keys mean the same are taken for one row",
        '    if others:\n        side.groups = b""\n',
        '    if False:\n        side.groups = b""\n',
        among=("keys_collide",),
    ),
    Mutant(
        "create before delete",
        Rule.KEYS,
        "app.core.position",
        "of a key that changes, the row that comes stands before the one that goes",
        "return _BINLOG.pack(file_number, offset, row, 0 if is_delete else 1)",
        "return _BINLOG.pack(file_number, offset, row, 1 if is_delete else 0)",
        among=("keys_change",),
    ),
    # -- pipelines
    Mutant(
        "pipelines are not waited for",
        Rule.PIPELINES,
        "app.core.judging",
        "a drift is to be repaired before its pipeline has passed the change",
        "        return known.pipeline_reached >= place_of(newest.position)\n",
        "        return True\n",
        among=("pipeline_stalls", "pipeline_reports_late"),
    ),
    Mutant(
        "pipelines are believed at once",
        Rule.PIPELINES,
        "app.core.pipeline_reach",
        "what a pipeline has brought counts before the logs are read up to then",
        "while (seen := self._seen.get(at)) and seen[0][0] < known_ms:",
        "while seen := self._seen.get(at):",
        among=("pipeline_stalls", "replica_connector_stalls", "pipeline_reports_late"),
    ),
    Mutant(
        "vouching is taken for showing",
        Rule.PIPELINES,
        "app.core.judging",
        "a state that the replica may have left just before the authority came back to it was shown by the pipeline",
        "following.earliest_ms > max(newest.latest_ms, from_ms)",
        "following.latest_ms > newest.latest_ms",
        among=("beacons_slow", "old_states_return", "pipeline_stalls", "pipeline_reports_late"),
    ),
    Mutant(
        "pipelines of another log count",
        Rule.PIPELINES,
        "app.core.pipeline_reach",
        "a place that is ahead of the authority's log is believed",
        "            if place <= known_place:\n",
        "            if True:\n",
        among=("log_restarts", "pipeline_stalls", "pipeline_reports_late"),
    ),
    Mutant(
        "pipelines outlive their log",
        Rule.PIPELINES,
        "app.core.fold",
        "how far a pipeline had come in a log that was lost or began anew counts in the next",
        "                self.pipelines.forget(number)\n",
        "                pass\n",
        among=("log_restarts", "pipeline_stalls", "pipeline_reports_late"),
    ),
    Mutant(
        "what was never left was brought",
        Rule.PIPELINES,
        "app.core.judging",
        "a replica that never left a state has shown that its authority came back to it",
        "        and not _was_there_before(stay, newest)\n",
        "",
        among=("old_states_return", "pipeline_stalls"),
    ),
    Mutant(
        "an agreement forgets who was there first",
        Rule.PIPELINES,
        "app.core.judging",
        "since when the authority is back where its replica never left is forgotten as they agree",
        "    if waits:\n        truth.stays = [newest]\n",
        "",
        among=("old_states_return", "pipeline_stalls"),
    ),
    # -- restarts
    Mutant(
        "deleted before its chains",
        Rule.RESTARTS,
        "app.core.fold",
        "a row that is gone is forgotten before the chains that brought its end are written",
        "                self._gone.add(self.progress.entities[number], row, kept)\n",
        "                rows[-1] = (row, None)\n",
        among=("commits_torn",),
    ),
    Mutant(
        "deleted before it is read again",
        Rule.RESTARTS,
        "app.core.gone",
        "a worker that begins anew deletes a row that is gone before it has read again what ended it",
        "        is_known = all(known >= at for known, at in zip(entity.known_to, newest, strict=False))\n",
        "        is_known = True\n",
        among=("commits_torn", "table_truncated", "findings_unacknowledged"),
    ),
    Mutant(
        "uncovered before acknowledged",
        Rule.RESTARTS,
        "app.core.fold",
        "a row is let go while a drift of it is not acknowledged, as its replica is uncovered",
        "    return NEVER if replica.drift is None or replica.drift.acknowledged else NOW\n",
        "    return NEVER\n",
        among=("findings_unacknowledged", "connector_snapshots_again", "rogue_writes"),
    ),
    Mutant(
        "notes are not read",
        Rule.RESTARTS,
        "app.core.fold",
        "a restart forgets which rows wait",
        "        return list(self.notes.noted)\n",
        "        return []\n",
        among=("worker_crashes", "rogue_writes"),
    ),
    Mutant(
        "nothing is told again",
        Rule.RESTARTS,
        "app.core.fold",
        "a drift whose record was not acknowledged is not sent again",
        "                if not replica.drift.acknowledged:\n                    yield",
        "                if False:\n                    yield",
        among=("findings_unacknowledged", "worker_crashes", "rogue_writes"),
    ),
    Mutant(
        "rows are not noted",
        Rule.RESTARTS,
        "app.core.fold",
        "a commit does not write which rows wait",
        "            elif is_live or self._is_noted(row, kept):\n",
        "            elif False:\n",
        also=(
            Edit(
                "app.core.fold",
                "                rows.append((row, kept.packed()))\n                noted.append(row)\n",
                "                rows.append((row, kept.packed()))\n",
            ),
        ),
        among=("worker_crashes", "rogue_writes"),
    ),
    Mutant(
        "sweeps end with the worker",
        Rule.RESTARTS,
        "app.core.fold",
        "a sweep that was under way does not begin again",
        "            if unfinished:\n",
        "            if False:\n",
        among=("table_truncated", "worker_crashes"),
    ),
    Mutant(
        "acknowledged unasked",
        Rule.RESTARTS,
        "app.core.judging",
        "a record counts as acknowledged before the broker has it",
        "    drift.stage = stage\n    drift.acknowledged = False\n",
        "    drift.stage = stage\n    drift.acknowledged = True\n",
        among=("findings_unacknowledged", "worker_crashes", "rogue_writes"),
    ),
    # -- beacon writers
    Mutant(
        "a clock of its own",
        Rule.BEACONS,
        "app.core.beacon_writer",
        "a new writer begins time anew",
        "self._clock = BeaconClock(self._reckoned.at(now_ms) + 1, now_ms)",
        "self._clock = BeaconClock(now_ms, now_ms)",
        among=("beacon_writer_dies",),
    ),
    Mutant(
        "time stands still at a taking over",
        Rule.BEACONS,
        "app.core.beacon_writer",
        "a new writer's time begins just above what it has seen, however long ago that was",
        "self._clock = BeaconClock(self._reckoned.at(now_ms) + 1, now_ms)",
        "self._clock = BeaconClock(self._reckoned.value_ms + 1, now_ms)",
        among=("beacon_writers_double",),
    ),
    Mutant(
        "no writer gives way",
        Rule.BEACONS,
        "app.core.beacon_writer",
        "a writer that was replaced goes on",
        "        if row.epoch > self.epoch:\n",
        "        if False:\n",
        among=("beacon_writers_double",),
    ),
    Mutant(
        "acknowledged at issue",
        Rule.BEACONS,
        "app.core.beacon_writer",
        "a beacon is said to be acknowledged when it was issued",
        "            self._hear(held, beat.row)\n            held.acknowledged_ms = self._clock.at(now_ms)\n",
        "            self._hear(held, beat.row)\n            held.acknowledged_ms = beat.row.issued_at_ms\n",
        among=("beacons_slow",),
    ),
    Mutant(
        "lost answers are not asked for",
        Rule.BEACONS,
        "app.core.beacon_writer",
        "a beacon whose answer never came is held for refused",
        "        self._stores[store].must_read = True\n",
        "        pass\n",
        among=("beacon_answers_lost",),
    ),
    # -- repairs
    Mutant(
        "moved rows are overwritten",
        Rule.REPAIRS,
        "app.core.guard",
        "a target that is not as expected is written",
        "(RefusalReason.ROW_MOVED, lambda command, seen: seen.target_digest != command.expected_digest)",
        "(RefusalReason.ROW_MOVED, lambda command, seen: False)",
        among=("connector_lies", "rogue_writes"),
    ),
    Mutant(
        "moved authorities are ignored",
        Rule.REPAIRS,
        "app.core.guard",
        "what the authority shows by now is not held against the command",
        "(RefusalReason.AUTHORITY_MOVED, lambda command, seen: seen.authority_digest != command.intended_digest)",
        "(RefusalReason.AUTHORITY_MOVED, lambda command, seen: False)",
        also=(
            Edit(
                "app.core.guard",
                "(RefusalReason.NOT_HELD_BY_COLUMN, lambda command, left: left.digest != command.intended_digest)",
                "(RefusalReason.NOT_HELD_BY_COLUMN, lambda command, left: False)",
            ),
        ),
        among=("applier_crashes", "rogue_writes"),
    ),
    Mutant(
        "nothing is read back",
        Rule.REPAIRS,
        "app.core.guard",
        "what a write left is not looked at",
        "(RefusalReason.NOT_HELD_BY_COLUMN, lambda command, left: left.digest != command.intended_digest)",
        "(RefusalReason.NOT_HELD_BY_COLUMN, lambda command, left: False)",
        among=("target_alters", "rogue_writes"),
    ),
    Mutant(
        "the ledger is not asked",
        Rule.REPAIRS,
        "app.applier.apply",
        "a command that was carried out is answered as if it were not",
        "        standing = store.recorded([command.command_id for command in commands])\n",
        "        standing: dict[bytes, LedgerRow] = {}\n",
        also=(
            Edit(
                "app.applier.apply",
                "        standing = store.recorded([command.command_id]).get(command.command_id)\n",
                "        standing = None\n",
            ),
        ),
        among=("commands_repeat", "rogue_writes"),
    ),
    Mutant(
        "a target that is gone says no",
        Rule.REPAIRS,
        "app.applier.apply",
        "a command is refused for good, and in no ledger, where its target does not answer",
        "        standing = store.recorded([command.command_id for command in commands])\n",
        "        try:\n"
        "            standing = store.recorded([command.command_id for command in commands])\n"
        "        except Unready:\n"
        "            return {c.command_id: self.answers.outcome(c, Outcome.REFUSED, RefusalReason.ROW_LOCKED)"
        " for c in commands}\n",
        among=("target_gone", "rogue_writes"),
    ),
    Mutant(
        "a dead applier's inserts stand",
        Rule.REPAIRS,
        "app.applier.apply",
        "the check after an insert is not made up for, neither at the start nor when the command comes again",
        "            for row in store.unchecked_inserts(limit):\n",
        "            for row in store.unchecked_inserts(0):\n",
        also=(
            Edit(
                "app.applier.apply",
                "        checked = self.after_insert.check([ours], store, row.transaction, at_ms=row.written_at_ms)\n"
                "        return checked[command.command_id]\n",
                "        return self.answers.outcome(ours, Outcome.APPLIED, None, at_ms=row.written_at_ms)\n",
            ),
        ),
        among=("applier_crashes", "rogue_deletes"),
    ),
    Mutant(
        "inserts are not checked",
        Rule.REPAIRS,
        "app.applier.after_insert",
        "the authority is not read again after an insert",
        "        stood = {c.row_id: c for command, _, c in looked if c.found_digest == command.intended_digest}\n",
        "        stood = {c.row_id: c for _, _, c in looked}\n",
        among=("applier_races", "rogue_deletes"),
    ),
    Mutant(
        "verified by the row alone",
        Rule.REPAIRS,
        "app.core.judging",
        "a repair is verified without its ledger row",
        "    if drift is None or not drift.repaired_transaction or Stage.VERIFIED not in NEXT_STAGES[drift.stage]:\n",
        "    if drift is None or Stage.VERIFIED not in NEXT_STAGES[drift.stage]:\n",
        among=("pipeline_alters",),
    ),
)

_ELSEWHERE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("vouched beyond the authority", ("pipeline_loses",)),
    ("no past", ("pipeline_reorders",)),
    ("unknown vouches for nothing", ("records_unreadable",)),
    ("unknown vouches for nothing", ("schema_unknown",)),
    ("ordered by the stores' clocks", ("transactions_long",)),
    ("moved authorities are ignored", ("worker_stalls", "commits_torn", "pipeline_doubles")),
    ("the ledger is not asked", ("planner_crashes", "rogue_writes")),
)
"""Rules that keep from the harm of more than one fault, hunted again in the worlds of another."""


def _again(name: str, among: tuple[str, ...]) -> Mutant:
    mutant = next(mutant for mutant in _RULES if mutant.name == name)
    return replace(mutant, name=f"{name} ({among[0]})", among=among)


MUTANTS: tuple[Mutant, ...] = (*_RULES, *(_again(name, among) for name, among in _ELSEWHERE))
