"""Opens the history where the settings say that it stands."""

from __future__ import annotations

from app.adapters.sql_history import SqlHistory
from app.core.errors import ContractViolation, DriftlineError
from app.settings import Settings


def open_history(settings: Settings, *, reads_only: bool) -> SqlHistory:
    """Open the history; for questions, in a way that cannot write and only where it is this deployment's."""
    if settings.history.postgres is not None:
        from app.adapters.postgres_history import PostgresHistory

        history: SqlHistory = PostgresHistory(settings.history.postgres, settings.deployment, reads_only=reads_only)
    else:
        from app.adapters.sqlite_history import SqliteHistory

        if reads_only and not settings.history_file.is_file():
            where = str(settings.history_file)
            raise ContractViolation("there is no history yet", where=where, hint="`driftline history follow` makes it")
        history = SqliteHistory(settings.history_file, settings.deployment, reads_only=reads_only)
    if reads_only:
        try:
            history.check()
        except DriftlineError:
            history.close()
            raise
    return history
