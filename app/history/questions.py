"""Which rows of the history a question is about, found through the port."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from app.core.command import Approval
from app.core.history.cells import Row, record_of
from app.core.history.changes import Material
from app.core.history.tables import COMMANDS, FINDINGS, MEMBERS, OUTCOMES, REHEARSALS, WORDS
from app.core.signing import id_of_member
from app.ports import HistoryStore


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for; what is None does not narrow. Moments are of records, `until_ms` is not among them."""

    since_ms: int | None = None
    until_ms: int | None = None
    batch: str | None = None
    keys: frozenset[bytes] | None = None
    entity: str | None = None


_ALL_TIMES = (-(1 << 63), (1 << 63) - 1)


def of_row(store: HistoryStore, key_hash: bytes) -> Material:
    """Return everything on one row."""
    findings = store.rows(FINDINGS, "key_hash", [key_hash.hex()])
    commands = store.rows(COMMANDS, "key_hash", [key_hash.hex()])
    return _gathered(store, _texts(commands, "command_id"), _texts(findings, "finding_id"))


def of_changes(store: HistoryStore, asked: Asked) -> Material:
    """Return everything on the commands that are asked for."""
    narrowed = [
        ids
        for ids in (
            _by_time(store, asked),
            None if asked.batch is None else _spoken_of(store.rows_beginning(WORDS, "batch_id", asked.batch)),
            None if asked.keys is None else _signed_by(store, [key.hex() for key in asked.keys]),
        )
        if ids is not None
    ]
    ids = set.intersection(*narrowed)
    if asked.entity is not None:
        known = (*store.rows(COMMANDS, "command_id", ids), *store.rows(OUTCOMES, "command_id", ids))
        ids = {str(row["command_id"]) for row in known if row["entity"] == asked.entity}
    return _gathered(store, ids, set())


def _by_time(store: HistoryStore, asked: Asked) -> set[str] | None:
    """Return the commands of which something was recorded in the time; None where another question narrows enough."""
    if asked.since_ms is None and asked.until_ms is None and (asked.batch, asked.keys) != (None, None):
        return None
    since = _ALL_TIMES[0] if asked.since_ms is None else asked.since_ms
    until = _ALL_TIMES[1] if asked.until_ms is None else asked.until_ms
    return set().union(*(_texts(store.rows_between(t, since, until), "command_id") for t in (COMMANDS, OUTCOMES)))


def _texts(rows: Iterable[Row], column: str) -> set[str]:
    return {str(row[column]) for row in rows}


def _spoken_of(words: Iterable[Row]) -> set[str]:
    return {id_of_member(member).hex() for row in words for member in record_of(Approval, row).members}


def _signed_by(store: HistoryStore, keys: list[str]) -> set[str]:
    """Return the commands that keys have spoken of, or that were made with them: a planner's, or a person's undo."""
    return _spoken_of(store.rows(WORDS, "key_id", keys)) | _texts(store.rows(COMMANDS, "key_id", keys), "command_id")


def _gathered(store: HistoryStore, command_ids: set[str], finding_ids: set[str]) -> Material:
    commands = store.rows(COMMANDS, "command_id", command_ids)
    outcomes = store.rows(OUTCOMES, "command_id", command_ids)
    places = _texts(store.rows(MEMBERS, "command_id", command_ids), "place")
    wanted = finding_ids | _texts(commands, "finding_id") | _texts(outcomes, "finding_id")
    return Material(
        findings=store.rows(FINDINGS, "finding_id", wanted - {""}),
        commands=commands,
        words=store.rows(WORDS, "place", places),
        rehearsals=store.rows(REHEARSALS, "command_id", command_ids),
        outcomes=outcomes,
    )
