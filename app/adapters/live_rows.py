"""Live rows, read by SQL, against their own change events: both must end in the same digest.

This is what `driftline check` can know of a whole path (type, connector mode, encoding, driver) that no rule foresees.
Keys are taken from the end of the table's CDC topic. A row may change between the two readings, so a difference counts
only if it stands while neither the row nor its newest event moves.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import psycopg
import pymysql

from app.adapters.kafka import KafkaClients
from app.adapters.kafka_read import KafkaEnds, KafkaReader
from app.adapters.sql_clients import Use, connect_mysql, connect_postgres
from app.adapters.sql_table import SqlTable
from app.codec.envelope import Decoder
from app.core.contract import EntityContract
from app.core.dialects import BY_LOG, by_sql
from app.core.digest import DIGEST_BYTES, RowDigester
from app.core.errors import Undecodable, Unmappable, Unready
from app.core.event import Operation
from app.core.preflight.problems import Found, Problem
from app.core.store import StoreKind
from app.settings import StoreSettings

_TAIL_RECORDS_MIN: Final = 500
_READ_S: Final = 15.0
_SETTLE_S: Final = 1.0
_ROUNDS: Final = 4
_LEFT_OUT: Final = bytes(DIGEST_BYTES)
# Both digests are made here and now, so their key is nobody's secret.
_KEY: Final = b"driftline check"


@dataclass(frozen=True, slots=True)
class _Seen:
    """A row as one side shows it: digests of groups and fields; none for an absent row."""

    groups: bytes = b""
    fields: Mapping[str, bytes] = field(default_factory=dict)

    def agrees(self, sql: _Seen) -> bool:
        """Tell whether a row of the log agrees with the same row by SQL, as far as the log carried it."""
        pairs = range(0, len(self.groups), DIGEST_BYTES)
        return len(self.groups) == len(sql.groups) and all(
            self.groups[i : i + DIGEST_BYTES] in {_LEFT_OUT, sql.groups[i : i + DIGEST_BYTES]} for i in pairs
        )


def live_row_problems(
    store: StoreSettings, contract: EntityContract, clients: KafkaClients, decoder: Decoder, rows: int
) -> Iterator[Found]:
    """Compare up to `rows` rows of one table; `Unready` if a part cannot be asked."""
    table = contract.table_of(store.name).table
    where = f"store {store.name}, table {table}"
    with _Comparison(store, contract, clients, decoder, rows) as comparison:
        comparison.run()
    for reason, count in sorted(comparison.unreadable.items()):
        yield Found(Problem.ROW_UNREADABLE, where, f"{count} of {comparison.compared} rows: {reason}")
    if comparison.differing:
        columns = Counter(name for names in comparison.differing for name in names)
        named = ", ".join(f"{name} ({count})" for name, count in columns.most_common())
        detail = f"{len(comparison.differing)} of {comparison.compared} rows, in fields {named or 'not named'}"
        yield Found(Problem.DIGEST_DIFFERS, where, detail)
    if not comparison.compared:
        yield Found(Problem.NOT_COMPARED, where, "the end of its topic names no row that exists")


class _Comparison:
    """The rows of one table, in both forms."""

    def __init__(
        self, store: StoreSettings, contract: EntityContract, clients: KafkaClients, decoder: Decoder, rows: int
    ) -> None:
        self.store = store
        self.rows = rows
        self.topic = contract.table_of(store.name).topic
        self.decoder = decoder
        self.log_digester = RowDigester(contract, store.name, BY_LOG[store.kind], _KEY)
        self.sql_digester = RowDigester(contract, store.name, by_sql(store.kind), _KEY)
        self.table = SqlTable(contract, store.name, store.kind, _KEY)
        self.ends = KafkaEnds(clients.admin("driftline-check"))
        self.reader = KafkaReader(clients, "driftline-check")
        self.reached: dict[tuple[str, int], int] = {}
        self.log: dict[bytes, _Seen] = {}
        self.moved: set[bytes] = set()
        self.unreadable: Counter[str] = Counter()
        self.differing: list[list[str]] = []
        self.compared = 0
        self._connection: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.reader.close()
        if self._connection is not None:
            self._connection.close()

    def run(self) -> None:
        """Read, compare, and look again at what differs until it has stood still for a round."""
        self._read_log()
        # The newest records stand last.
        keys = [key for key, seen in self.log.items() if seen.groups][-self.rows :]
        self.compared = len(keys)
        before: dict[bytes, _Seen] = {}
        doubtful: list[bytes] = keys
        for round_ in range(_ROUNDS):
            sql = {key: self._by_sql(key) for key in doubtful}
            doubtful = [key for key, seen in sql.items() if seen is not None and not self._agree(key, seen)]
            if not doubtful:
                return
            if round_ and all(before.get(key) == sql[key] and key not in self.moved for key in doubtful):
                break
            before = {key: seen for key, seen in sql.items() if seen is not None}
            self.moved.clear()
            time.sleep(_SETTLE_S)
            self._read_log()
        standing = [key for key in doubtful if key not in self.moved and key in before]
        self.differing = [self._named(self.log[key], before[key]) for key in standing]

    def _agree(self, key: bytes, sql: _Seen) -> bool:
        return self.log[key].agrees(sql)

    def _named(self, log: _Seen, sql: _Seen) -> list[str]:
        return [name for name, digest in log.fields.items() if sql.fields.get(name) not in {None, digest}]

    def _read_log(self) -> None:
        """Read what is new at the end of the topic; at first, its last records."""
        partitions = self.ends.partitions_of([self.topic]).get(self.topic)
        if partitions is None:
            return
        at = [(self.topic, number) for number in range(partitions)]
        latest = self.ends.offsets(at, latest=True)
        if not self.reached:
            tail = max(_TAIL_RECORDS_MIN, self.rows)
            earliest = self.ends.offsets(at, latest=False)
            self.reached = {place: max(earliest[place], latest[place] - tail) for place in at}
        records = self.reader.read({place: (self.reached[place], latest[place]) for place in at}, _READ_S)
        self.reached = dict(latest)
        self._take(sorted(records, key=lambda record: (record.partition, record.offset)))

    def _take(self, records: Iterable[Any]) -> None:
        for record in records:
            try:
                event = self.decoder.decode(record.key, record.value)
            except Undecodable as error:
                self.unreadable[f"an event cannot be decoded ({error.reason})"] += 1
                continue
            if event is None or event.key is None:
                continue
            try:
                key = self.log_digester.canonical_key(event.key)
                self.log.pop(key, None)  # the newest stands last
                self.moved.add(key)
                self.log[key] = self._digested(self.log_digester, event.after, event.operation)
            except Unmappable as error:
                self.unreadable[f"field {error.field} in an event: {error.what}"] += 1

    def _digested(self, digester: RowDigester, row: Mapping[str, object] | None, operation: Operation) -> _Seen:
        if row is None or operation is Operation.DELETE:
            return _Seen()
        return _Seen(digester.groups(row), digester.field_digests(row))

    def _by_sql(self, key: bytes) -> _Seen | None:
        """Read one row; None if it does not fit the contract, which is noted."""
        text, parameters = self.table.select([key])
        try:
            cursor = self._connected().cursor()
            cursor.execute(text, parameters)
            found = cursor.fetchall()
        except (psycopg.Error, pymysql.MySQLError, OSError) as error:
            # The driver's text may quote values of the row.
            where = f"store {self.store.name}, table {self.table.table}"
            code = getattr(error, "sqlstate", None) or (error.args[0] if error.args else "")
            hint = "may the role read SELECT this table?"
            raise Unready(f"a row cannot be read ({type(error).__name__} {code})", where=where, hint=hint) from None
        try:
            for values in found:
                row = dict(zip(self.table.columns, values, strict=True))
                if self.sql_digester.canonical_key(row) == key:
                    return self._digested(self.sql_digester, row, Operation.READ)
        except Unmappable as error:
            self.unreadable[f"field {error.field} by SQL: {error.what}"] += 1
            return None
        return _Seen()

    def _connected(self) -> Any:  # noqa: ANN401 - either driver's connection
        if self._connection is None:
            connect = connect_postgres if self.store.kind is StoreKind.POSTGRES else connect_mysql
            self._connection = connect(self.store, "read", Use.READ)
        return self._connection
