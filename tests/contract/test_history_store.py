"""What every database that holds the history must do: one suite for SQLite and PostgreSQL."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.adapters.history import open_history
from app.adapters.sql_history import SqlHistory
from app.core.errors import ContractViolation, Undecodable, Unready
from app.core.history.tables import (
    COMMANDS,
    FINDINGS,
    FORMAT,
    MEMBERS,
    TABLES,
    WORDS,
    Entry,
    Place,
    entries_of,
    unreadable_entry,
)
from app.history.projection import Projection
from app.ports import Span
from app.settings import HistoryDatabase, HistorySettings, RoleSettings, Settings
from tests.integration.running_stack import running_stack
from tests.property.history_records import COMMAND, READERS, word
from tests.property.test_history_projection import EVERY, REFERENCE, contents
from tests.unit.cli.reading_world import settings_in, stale

SCHEMA = "driftline_history_test"
LOGIN = "history_test"


class Home(ABC):
    """A place for a history."""

    settings: Settings

    def open(self, *, reads_only: bool = False, deployment: str = "shop") -> SqlHistory:
        """Open it as a deployment does."""
        return open_history(replace(self.settings, deployment=deployment), reads_only=reads_only)

    @abstractmethod
    def alter(self, statement: str) -> None:
        """Do what a person may do who has the history's own login."""

    @abstractmethod
    def close(self) -> None:
        """Leave nothing behind."""


class FileHome(Home):
    """A file."""

    def __init__(self, folder: Path) -> None:
        self.settings = settings_in(folder)

    def alter(self, statement: str) -> None:
        """Do it through a history."""
        history = self.open()
        history.execute(statement)
        history.close()

    def close(self) -> None:
        """The folder is the test's own."""


class PostgresHome(Home):
    """A schema that the history's login owns, in a database where it has nothing else."""

    def __init__(self, folder: Path) -> None:
        told = running_stack("postgres")["postgres"]
        self._admin: psycopg.Connection[Any] = psycopg.connect(
            host=told["host"],
            port=told["port"],
            dbname=told["database"],
            user="postgres",
            password=Path(told["roles"]["postgres"]["password_file"]).read_text("utf-8").strip(),
            autocommit=True,
        )
        self.close_schema()
        self._admin.execute(f"CREATE ROLE {LOGIN} LOGIN PASSWORD 'a test''s word'")
        # Once `driftline init` has run, nobody may connect who was not told by name.
        self._admin.execute(f"GRANT CONNECT ON DATABASE {told['database']} TO {LOGIN}")
        self._admin.execute(f"CREATE SCHEMA {SCHEMA} AUTHORIZATION {LOGIN}")
        word_file = folder / "word"
        word_file.write_text("a test's word")
        login = RoleSettings(LOGIN, word_file)
        database = HistoryDatabase(told["host"], told["port"], told["database"], login, SCHEMA)
        self.settings = replace(settings_in(folder), history=HistorySettings(postgres=database))

    def alter(self, statement: str) -> None:
        """Do it in the schema."""
        self._admin.execute(f"SET search_path = {SCHEMA}")
        self._admin.execute(statement.encode())

    def close_schema(self) -> None:
        """Drop what these tests made."""
        self._admin.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        if self._admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (LOGIN,)).fetchone():
            self._admin.execute(f"DROP OWNED BY {LOGIN}")
            self._admin.execute(f"DROP ROLE {LOGIN}")

    def close(self) -> None:
        """Leave nothing behind."""
        self.close_schema()
        self._admin.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.stack)])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    """Yield an empty place."""
    made: Home = FileHome(tmp_path) if request.param == "sqlite" else PostgresHome(tmp_path)
    yield made
    made.close()


@pytest.fixture
def history(home: Home) -> Iterator[SqlHistory]:
    """Yield a history without rows."""
    opened = home.open()
    with opened.transaction():
        opened.make()
    yield opened
    opened.close()


def entries(offset: int = 1) -> list[Entry]:
    """Return the rows of three records."""
    return [
        *entries_of(Place("drifts", 0, offset, 1_000 + offset), stale()),
        *entries_of(Place("repairs", 0, offset, 1_000 + offset), COMMAND),
        *entries_of(Place("approvals", 0, offset, 1_000 + offset), word([COMMAND])),
    ]


def sizes(history: SqlHistory) -> list[int]:
    """Return how many rows each table has."""
    return [history.execute(f"SELECT count(*) FROM {history.placed(t.name)}")[0][0] for t in TABLES]  # noqa: S608


def test_rows_come_back_as_they_were_written(history: SqlHistory) -> None:
    """Every cell, and under each way of asking."""
    history.add(entries())
    finding, command, *_ = entries()
    assert history.rows(FINDINGS, "key_hash", [(b"h" * 16).hex()]) == [finding.cells]
    assert history.rows(COMMANDS, "command_id", [COMMAND.command_id.hex(), "none"]) == [command.cells]
    assert len(history.rows_beginning(WORDS, "batch_id", word([COMMAND]).batch_id.hex()[:8])) == 1
    assert history.rows_beginning(WORDS, "batch_id", "ffffffff") == []
    assert history.rows(MEMBERS, "command_id", [COMMAND.command_id.hex()])[0]["place"] == "0@1"


def test_a_row_that_is_there_stays_as_it_is(history: SqlHistory) -> None:
    """A record that is read again changes nothing, and neither does another one under its place."""
    history.add(entries())
    before = history.rows(COMMANDS, "command_id", [COMMAND.command_id.hex()])
    history.add(entries())
    history.add(entries_of(Place("repairs", 0, 1, 9_999), replace(COMMAND, reason="another")))
    assert sizes(history) == [1, 1, 1, 1, 0, 0, 0, 0]
    assert history.rows(COMMANDS, "command_id", [COMMAND.command_id.hex()]) == before


def test_a_moment_has_the_records_from_it_on_and_not_those_at_its_end(history: SqlHistory) -> None:
    """Between is half open, so that two questions side by side tell nothing twice."""
    for offset in (1, 2, 3):
        history.add(entries(offset))
    found = history.rows_between(COMMANDS, 1_001, 1_003)
    assert sorted(str(row["place"]) for row in found) == ["0@1", "0@2"]


def test_what_was_read_only_ever_grows(history: SqlHistory) -> None:
    """A reader that is behind takes nothing back from one that is ahead."""
    history.have_read({("drifts", 0): Span(5, 9), ("drifts", 1): Span(0, 1)})
    history.have_read({("drifts", 0): Span(3, 7)})
    assert history.spans() == {("drifts", 0): Span(3, 9), ("drifts", 1): Span(0, 1)}


def test_a_transaction_that_fails_leaves_nothing(history: SqlHistory) -> None:
    """Neither rows nor how far was read, and the next one goes on."""

    def killed() -> None:
        with history.transaction():
            history.add(entries())
            history.have_read({("drifts", 0): Span(0, 1)})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert (sum(sizes(history)), history.spans()) == (0, {})
    with history.transaction():
        history.add(entries())
    assert sum(sizes(history)) == 4


def test_tables_that_are_dropped_and_not_made_again_were_never_dropped(history: SqlHistory) -> None:
    """A rebuild that is killed leaves the history that there was."""
    history.add(entries())

    def killed() -> None:
        with history.transaction():
            history.drop()
            history.make()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert sum(sizes(history)) == 4


def test_a_rebuild_has_the_same_rows_in_every_database_however_often_it_is_made(history: SqlHistory) -> None:
    """From the same topics, behind a projection that had read some of them; cell by cell what SQLite has."""
    projection = Projection("shop", history, READERS)
    projection.take(EVERY[::2])
    for _ in range(2):
        assert projection.rebuild(iter(EVERY)) == len(EVERY)
        assert contents(history) == REFERENCE


def test_another_deployments_history_is_neither_read_nor_written_nor_dropped(home: Home, history: SqlHistory) -> None:
    """Two deployments that were given one place by mistake."""
    with pytest.raises(ContractViolation, match="another deployment"):
        home.open(reads_only=True, deployment="other")
    other = home.open(deployment="other")
    for act in (other.make, other.drop):
        with pytest.raises(ContractViolation, match="another deployment"):
            act()
    other.close()
    assert history.spans() == {}


def test_tables_of_another_form_are_refused_until_they_are_made_anew(home: Home, history: SqlHistory) -> None:
    """After an upgrade that keeps more; what had been read is still known, so that nothing is forgotten unasked."""
    history.have_read({("drifts", 0): Span(5, 9)})
    home.alter("UPDATE history SET form = 'older'")
    with pytest.raises(ContractViolation, match="another version"):
        home.open(reads_only=True)
    with pytest.raises(ContractViolation, match="another version"):
        history.make()
    assert history.spans_of_any_form() == {("drifts", 0): Span(5, 9)}
    with history.transaction():
        history.drop()
        history.make()
    assert history.spans() == {}
    assert len(FORMAT) == 16


def test_a_question_cannot_write(home: Home, history: SqlHistory) -> None:
    """Whatever a bug in a question would ask for, the session says no."""
    history.add(entries())
    asking = home.open(reads_only=True)
    with pytest.raises(Unready):
        asking.add(entries(2))
    with pytest.raises(Unready):
        asking.drop()
    asking.close()
    assert sum(sizes(history)) == 4


def test_there_is_nothing_to_ask_before_there_is_a_history(home: Home) -> None:
    """And asking makes none."""
    for _ in range(2):
        with pytest.raises(ContractViolation, match="no history yet"):
            home.open(reads_only=True)


HOSTILE = "'; DROP TABLE findings; -- \" %s %% ? \\ \u202e \U0001f4a5"


def test_what_a_hostile_record_says_is_only_ever_a_value(history: SqlHistory) -> None:
    """Quotes, marks, and percent signs come back as they came."""
    evil = replace(COMMAND, reason=HOSTILE, columns=(HOSTILE,), entity=HOSTILE)
    history.add(entries_of(Place("repairs", 0, 1, 1), evil))
    found = history.rows(COMMANDS, "entity", [HOSTILE])
    assert [row["reason"] for row in found] == [HOSTILE]
    history.add([unreadable_entry(Place("repairs", 0, 2, -1), "bad_avro")])
    assert sum(sizes(history)) == 2


@pytest.mark.parametrize(
    "evil",
    [
        replace(COMMAND, reason="nul\0"),
        replace(COMMAND, columns=("\ud800",)),
        replace(COMMAND, expires_at_ms=1 << 63),
        replace(COMMAND, command_id=bytes(500_000)),
    ],
    ids=["nul", "half a character", "a number too long", "an id too long"],
)
def test_what_not_every_database_holds_is_unreadable_in_all(evil: Any) -> None:  # noqa: ANN401 - a record
    """It must not stop the projection on one of them, and neither differ between them."""
    with pytest.raises(Undecodable):
        list(entries_of(Place("repairs", 0, 1, 1), evil))


@pytest.mark.parametrize("home", ["sqlite"], indirect=True)
def test_the_file_is_its_owners_alone(home: Home, history: SqlHistory) -> None:
    """It says who did what, and holds every sealed key."""
    history.add(entries())
    folder = home.settings.history_file.parent
    modes = {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}
    assert modes["history.sqlite"] == 0o600
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("home", [pytest.param("postgres", marks=pytest.mark.stack)], indirect=True)
def test_its_login_owns_its_schema_and_nothing_else(home: Home, history: SqlHistory) -> None:
    """It cannot make a table beside it, nor read the stores' own."""
    del home
    for statement in ("CREATE TABLE public.mine (a int)", "CREATE SCHEMA mine", "SELECT * FROM pg_authid"):
        with pytest.raises(Unready, match="permission denied"):
            history.execute(statement)
