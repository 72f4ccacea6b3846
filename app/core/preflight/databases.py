"""Whether a database's settings, tables and publication let its log tell the whole story."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from app.core.contract import EntityContract, Field, KeyField, RepairMode
from app.core.preflight.columns import WIDE_TEXT, column_problems, shorter_than_authority
from app.core.preflight.facts import ColumnFact, DatabaseFacts, PublicationFact, TableFact
from app.core.preflight.problems import Found, Problem
from app.core.store import Converter, StoreKind

OWN_TABLES: Final = ("driftline_beacon", "driftline_signal", "driftline_ledger", "driftline_fence")
OWN_FUNCTIONS: Final = ("driftline_standbys",)
"""PostgreSQL's alone, and asked by the applier alone."""

_TOASTED: Final = frozenset({"text", "varchar", "bpchar", "citext", "xml", "bytea", "json", "jsonb"})
_TOAST_LENGTH_MIN: Final = 500
_LOG_KEPT_S_MIN: Final = 86_400
_DATED: Final = frozenset({"date", "datetime", "timestamp"})
_NO_ZERO_DATES: Final = frozenset({"NO_ZERO_DATE", "NO_ZERO_IN_DATE"})


@dataclass(frozen=True, slots=True)
class StoreUnderCheck:
    """What the rules need of a store's settings; `own_schema` holds Driftline's tables.

    `slice_rows` are the rows of a slice that is read again, 0 where the store is not.
    """

    name: str
    kind: StoreKind
    converter: Converter
    own_schema: str
    slice_rows: int = 0


def database_problems(
    store: StoreUnderCheck, facts: DatabaseFacts, contracts: Iterable[EntityContract]
) -> Iterator[Found]:
    """Find what is wrong in one database for all contracts that live in it."""
    where = f"store {store.name}"
    if store.kind is StoreKind.POSTGRES:
        yield from _postgres_problems(where, facts.settings)
        yield from _publication_problems(where, facts.publication)
    else:
        yield from _binlog_problems(where, store.kind, facts.settings)
    for table in OWN_TABLES:
        if f"{store.own_schema}.{table}" not in facts.tables:
            yield Found(Problem.OWN_TABLE_MISSING, f"{where}, table {store.own_schema}.{table}")
        elif table != "driftline_fence" and not facts.tables[f"{store.own_schema}.{table}"].is_published:
            yield Found(Problem.NOT_PUBLISHED, f"{where}, table {store.own_schema}.{table}")
    here = [contract for contract in contracts if any(table.store == store.name for table in contract.stores)]
    if store.kind is StoreKind.POSTGRES and is_repaired(store.name, here):
        for function in OWN_FUNCTIONS:
            if f"{store.own_schema}.{function}" not in facts.functions:
                yield Found(Problem.OWN_FUNCTION_MISSING, f"{where}, function {store.own_schema}.{function}")
    for contract in here:
        yield from _table_problems(store, facts, contract)


def is_repaired(store: str, contracts: Iterable[EntityContract]) -> bool:
    """Tell whether repairs may be planned in a store."""
    replicas = (replica for contract in contracts for replica in contract.replicas)
    return any(replica.store == store and replica.repair.mode is not RepairMode.OBSERVE for replica in replicas)


def _postgres_problems(where: str, settings: Mapping[str, str]) -> Iterator[Found]:
    for name, wanted, problem in (
        ("wal_level", "logical", Problem.WAL_LEVEL),
        ("server_encoding", "UTF8", Problem.SERVER_ENCODING),
    ):
        if settings.get(name) != wanted:
            yield Found(problem, where, f"{name} is {settings.get(name, 'not known')}")


def _publication_problems(where: str, publication: PublicationFact | None) -> Iterator[Found]:
    if publication is None:
        return
    passes = {
        "insert": publication.inserts,
        "update": publication.updates,
        "delete": publication.deletes,
        "truncate": publication.truncates,
    }
    skipped = [name for name, through in passes.items() if not through]
    if skipped:
        place = f"{where}, publication {publication.name}"
        yield Found(Problem.PUBLICATION_SKIPS, place, f"skips {', '.join(skipped)}")


def _is_on(value: str) -> bool:
    return value.upper() in {"ON", "1", "YES"}


def _binlog_problems(where: str, kind: StoreKind, settings: Mapping[str, str]) -> Iterator[Found]:
    if not _is_on(settings.get("log_bin", "")):
        yield Found(Problem.BINLOG_OFF, where)
    for name, wanted, problem in (
        ("binlog_format", "ROW", Problem.BINLOG_FORMAT),
        ("binlog_row_image", "FULL", Problem.BINLOG_ROW_IMAGE),
    ):
        value = settings.get(name, "not known")
        if value.upper() != wanted:
            yield Found(problem, where, f"{name} is {value}")
    filters = [name for name in ("binlog_do_db", "binlog_ignore_db") if settings.get(name)]
    if filters:
        yield Found(Problem.BINLOG_FILTERED, where, ", ".join(f"{name}={settings[name]}" for name in filters))
    strict = "gtid_strict_mode" if kind is StoreKind.MARIADB else "gtid_mode"
    if not _is_on(settings.get(strict, "")):
        yield Found(Problem.GTID_LAX, where, f"{strict} is {settings.get(strict, 'not known')}")
    kept = settings.get("binlog_expire_logs_seconds", "0")
    if kept.isdigit() and 0 < int(kept) < _LOG_KEPT_S_MIN:
        yield Found(Problem.LOG_SHORT, where, f"{kept} seconds")


def _table_problems(store: StoreUnderCheck, facts: DatabaseFacts, contract: EntityContract) -> Iterator[Found]:
    name = contract.table_of(store.name).table
    where = f"store {store.name}, table {name}"
    table = facts.tables.get(name)
    if table is None:
        yield Found(Problem.TABLE_MISSING, where)
        return
    for member in _members(contract):
        column = table.column(member.columns[store.name])
        place = f"{where}, column {member.columns[store.name]}"
        if column is None:
            yield Found(Problem.COLUMN_MISSING, place)
        else:
            yield from column_problems(store.kind, store.converter, store.name, member, column, place)
    yield from _key_problems(store, contract, table, where)
    yield from _log_problems(store, contract, table, where)
    yield from _zero_date_problems(store, contract, table, facts.settings, where)
    yield from _repair_problems(store, contract, table, where)


def _members(contract: EntityContract) -> list[Field | KeyField]:
    return [*contract.key, *contract.fields]


def _key_problems(store: StoreUnderCheck, contract: EntityContract, table: TableFact, where: str) -> Iterator[Found]:
    wanted = {part.columns[store.name] for part in contract.key}
    if set(table.primary_key) != wanted:
        has = ", ".join(table.primary_key) or "nothing"
        yield Found(Problem.KEY_DIFFERS, where, f"the table's is {has}, the contract's {', '.join(sorted(wanted))}")
    for part in contract.key:
        column = table.column(part.columns[store.name])
        if column is not None and column.is_case_blind and part.type.collation in {"exact", "trim"}:
            yield Found(Problem.KEY_CASE_BLIND, f"{where}, column {column.name}")


def _log_problems(store: StoreUnderCheck, contract: EntityContract, table: TableFact, where: str) -> Iterator[Found]:
    if store.kind is not StoreKind.POSTGRES:
        return
    # An index names rows by other columns than the key's; those are then missing where a row is deleted.
    if table.replica_identity in {"n", "i"} or (table.replica_identity == "d" and not table.primary_key):
        yield Found(Problem.REPLICA_IDENTITY, where)
    if not table.is_published:
        yield Found(Problem.NOT_PUBLISHED, where)
    columns = {member.columns[store.name] for member in _members(contract)} & {column.name for column in table.columns}
    published = table.published_columns
    missing = sorted(columns - set(published)) if published is not None else []
    if missing or table.has_row_filter:
        detail = f"columns left out: {', '.join(missing)}" if missing else "it has a row filter"
        yield Found(Problem.PUBLICATION_PARTIAL, where, detail)
    if table.replica_identity != "f":
        names = [f.columns[store.name] for f in contract.fields if not f.large]
        long = [name for name in names if _may_be_long(table.column(name))]
        if long:
            yield Found(Problem.MAY_BE_LEFT_OUT, where, ", ".join(long))


def _zero_date_problems(
    store: StoreUnderCheck, contract: EntityContract, table: TableFact, settings: Mapping[str, str], where: str
) -> Iterator[Found]:
    if store.kind is StoreKind.POSTGRES or set(settings.get("sql_mode", "").upper().split(",")) >= _NO_ZERO_DATES:
        return
    columns = (table.column(member.columns[store.name]) for member in _members(contract))
    dated = [c.name for c in columns if c is not None and c.type in _DATED and not c.is_nullable]
    if dated:
        yield Found(Problem.ZERO_DATE, where, ", ".join(dated))


def _may_be_long(column: ColumnFact | None) -> bool:
    if column is None or not (column.type in _TOASTED or column.is_array):
        return False
    return column.length is None or column.length >= _TOAST_LENGTH_MIN


def _repair_problems(store: StoreUnderCheck, contract: EntityContract, table: TableFact, where: str) -> Iterator[Found]:
    if not is_repaired(store.name, [contract]):
        return
    replica = next(r for r in contract.replicas if r.store == store.name)
    if not table.is_transactional:
        yield Found(Problem.NOT_TRANSACTIONAL, where, f"engine {table.engine}")
    covered = {member.columns[store.name] for member in _members(contract)}
    needed = [
        column.name
        for column in table.columns
        if column.name not in covered and not (column.is_nullable or column.has_default or column.is_generated)
    ]
    if needed and replica.repair.upserts:
        yield Found(Problem.UNCOVERED_COLUMN, where, ", ".join(needed))


def length_problems(
    contracts: Iterable[EntityContract], tables: Mapping[str, Mapping[str, TableFact]]
) -> Iterator[Found]:
    """Find replica columns that cannot hold every text of the authority's; `tables` are by store and name."""
    for contract in contracts:
        authority = tables.get(contract.authority, {}).get(contract.table_of(contract.authority).table)
        for replica in contract.replicas:
            name = contract.table_of(replica.store).table
            table = tables.get(replica.store, {}).get(name)
            if authority is None or table is None:
                continue
            for f in contract.fields:
                ours = authority.column(f.columns[contract.authority])
                theirs = table.column(f.columns[replica.store])
                if ours is not None and theirs is not None and shorter_than_authority(ours, theirs):
                    where = f"store {replica.store}, table {name}, column {theirs.name}"
                    longer = "unbounded" if ours.length is None or ours.length >= WIDE_TEXT else str(ours.length)
                    detail = f"{theirs.length} characters where {contract.authority} has {longer}"
                    yield Found(Problem.COLUMN_NARROWER, where, detail)
