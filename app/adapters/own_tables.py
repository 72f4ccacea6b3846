"""What `driftline init` runs in a SQL store: own tables, roles, and rights, no wider than each role's work.

What it runs in MongoDB is asked for here too, and stands in `app.adapters.own_collections`.

| role | may |
|---|---|
| beacon | SELECT and UPDATE the beacon's row |
| read | SELECT the contracts' tables |
| apply | SELECT the contracts' tables here; where this store is repaired, lock and write the contract's columns, and |
|       | DELETE if the policy deletes, and INSERT whole rows to undo that; add to the ledger; share the fence's lock |
|       | through a column of no meaning; in PostgreSQL ask how far the standbys are; in MariaDB and MySQL SELECT the |
|       | columns of foreign keys by which other rows would go along with a repaired one |
| capture | SELECT own tables, INSERT signals |
| conduct | SELECT the contracts' tables; INSERT signals |
| canary | write the canary's table, where the settings want one |

Every run leaves the same rights: what a policy no longer allows is taken away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

import psycopg
import pymysql

from app.adapters import own_collections
from app.adapters.own_script import HIDDEN, LOGINS, Role, Statement
from app.adapters.server_identity import as_token
from app.adapters.sql_clients import Use, connect_mysql, connect_postgres
from app.core.canary import ENTITY as CANARY
from app.core.contract import EntityContract, RepairMode
from app.core.errors import Unready
from app.core.guard import repair_policy
from app.core.store import StoreKind
from app.settings import StoreSettings

_ON_CONTRACTS: Final[tuple[Role, ...]] = ("read", "apply", "conduct")
REFERRING: Final = "{referring column}"
ITS_TABLE: Final = "{its table}"
_FOLLOWING: Final = """
SELECT DISTINCT k.table_schema, k.table_name, k.column_name
  FROM information_schema.key_column_usage k JOIN information_schema.referential_constraints r
    ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name
   AND r.table_name = k.table_name
 WHERE k.referenced_table_schema = %s AND k.referenced_table_name = %s
   AND (k.table_schema, k.table_name) <> (k.referenced_table_schema, k.referenced_table_name)
   AND (r.delete_rule IN ('CASCADE', 'SET NULL') OR r.update_rule IN ('CASCADE', 'SET NULL')) ORDER BY 1, 2, 3
"""
_PUBLISHED: Final = ("driftline_beacon", "driftline_signal", "driftline_ledger")
_FENCE: Final = "driftline_fence"
"""Nobody reads it from a topic, but a connector that captures it ends where it may not read it."""


def _name(kind: StoreKind, name: str) -> str:
    mark = '"' if kind is StoreKind.POSTGRES else "`"
    return mark + name.replace(mark, mark * 2) + mark


def _text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _table(kind: StoreKind, table: str) -> str:
    return ".".join(_name(kind, part) for part in table.split(".", 1))


def _template(name: str, store: StoreSettings) -> Iterator[Statement]:
    text = resources.files("app.adapters").joinpath("sql", name).read_text("utf-8")
    text = text.replace("{schema}", _name(store.kind, store.schema)).replace("{store}", _text(store.name))
    text = text.replace("{server}", as_token(store.kind))
    for part in text.split(";\n"):
        if part.strip():
            yield Statement(part.strip())


@dataclass(frozen=True, slots=True)
class _Rights:
    """What the read and apply roles need on one contract's table."""

    table: str
    columns: str
    changed: str
    writes: bool
    deletes: bool


def _rights(store: StoreSettings, contracts: Iterable[EntityContract]) -> Iterator[_Rights]:
    for contract in contracts:
        for place in contract.stores:
            if place.store != store.name:
                continue
            policy = repair_policy(contract, store.name)
            keys = [part.columns[store.name] for part in contract.key]
            compared = [each.columns[store.name] for each in contract.fields]
            # A key is never changed; but where there is nothing else, the row's lock needs UPDATE on some column.
            changed = [column for column in compared if column not in keys] or keys
            yield _Rights(
                table=place.table,
                columns=", ".join(_name(store.kind, column) for column in dict.fromkeys(keys + compared)),
                changed=", ".join(_name(store.kind, column) for column in dict.fromkeys(changed)),
                writes=policy is not None and policy.mode is not RepairMode.OBSERVE,
                deletes=policy is not None and policy.mode is not RepairMode.OBSERVE and policy.deletes,
            )


def _fence(store: StoreSettings) -> str:
    return f"{_name(store.kind, store.schema)}.{_FENCE}"


def accepts_server(store: StoreSettings) -> list[Statement]:
    """Return what lets repairs go on where another server answers for the store than the one they were made on."""
    if store.kind is StoreKind.MONGODB:
        return own_collections.accepts_server(store)
    return [Statement(f"UPDATE {_fence(store)} SET token = {as_token(store.kind)} WHERE scope = 'server'")]  # noqa: S608 - quoted


def raises_fence(store: StoreSettings, shard: str = "") -> list[Statement]:
    """Return what lets a fence stand at its token of the settings; one that stands higher stays there.

    It is the store's, or that of one of its shards, for which `KeyError` is raised where the settings have no token.
    """
    if store.kind is StoreKind.MONGODB:
        return own_collections.raises_fence(store, shard)
    fence = _fence(store)
    if not shard:
        token = store.fence_token
        return [Statement(f"UPDATE {fence} SET token = {token} WHERE scope = '*' AND token < {token}")]  # noqa: S608 - quoted
    # A row that is not there yet locks nobody out: so the store's own is written too, as it is, which waits for every
    # transaction that has read it.
    rows = f"('*', 0), ({_text(shard)}, {store.shard_fence_tokens[shard]})"
    if store.kind is StoreKind.POSTGRES:
        clash = f"ON CONFLICT (scope) DO UPDATE SET token = greatest({fence}.token, excluded.token)"
    else:
        clash = "ON DUPLICATE KEY UPDATE token = greatest(token, VALUES(token))"
    return [Statement(f"INSERT INTO {fence} (scope, token) VALUES {rows} {clash}")]  # noqa: S608 - quoted


def statements(store: StoreSettings, contracts: Iterable[EntityContract]) -> list[Statement]:
    """Return what makes one store ready, in order."""
    if store.kind is StoreKind.MONGODB:
        return own_collections.statements(store, contracts)
    here = [contract for contract in contracts if any(place.store == store.name for place in contract.stores)]
    rights = list(_rights(store, here))
    has_canary = any(contract.entity == CANARY for contract in here)
    published = (*_PUBLISHED, CANARY) if has_canary else _PUBLISHED
    if store.kind is StoreKind.POSTGRES:
        canary = _template("postgres_canary.sql", store) if has_canary else ()
        roles = _postgres_roles(store, rights, published)
        return [*_template("postgres_tables.sql", store), *canary, *roles, *_published(store, published)]
    canary = _template("mysql_canary.sql", store) if has_canary else ()
    return [*_template("mysql_tables.sql", store), *canary, *_mysql_roles(store, rights, published)]


def _postgres_roles(store: StoreSettings, rights: list[_Rights], published: Sequence[str]) -> Iterator[Statement]:
    kind, schema = store.kind, _name(store.kind, store.schema)
    users = {role: _name(kind, store.roles[role].user) for role in LOGINS if role in store.roles}
    yield from _postgres_logins(store, users)
    yield from _on_own_tables(schema, users, published)
    if "apply" in users:
        yield Statement(f"GRANT EXECUTE ON FUNCTION {schema}.driftline_standbys() TO {users['apply']}")
    if "capture" in store.roles:
        capture = _name(kind, store.roles["capture"].user)
        yield Statement(f"GRANT USAGE ON SCHEMA {schema} TO {capture}")
        for table in (*published, _FENCE):
            yield Statement(f"GRANT SELECT ON {schema}.{table} TO {capture}")
        yield Statement(f"GRANT INSERT ON {schema}.driftline_signal TO {capture}")
    for right in rights:
        name = _table(kind, right.table)
        of_table = _name(kind, right.table.split(".", 1)[0]) if "." in right.table else '"public"'
        for role in _ON_CONTRACTS:
            if role in users:
                yield Statement(f"GRANT USAGE ON SCHEMA {of_table} TO {users[role]}", needs=right.table)
        yield from _on_contract_table(right, name, users)


def _on_own_tables(schema: str, users: Mapping[Role, str], published: Collection[str]) -> Iterator[Statement]:
    if "beacon" in users:
        yield Statement(f"GRANT SELECT, UPDATE ON {schema}.driftline_beacon TO {users['beacon']}")
    if "apply" in users:
        yield Statement(f"GRANT SELECT, INSERT ON {schema}.driftline_ledger TO {users['apply']}")
        yield Statement(f"GRANT SELECT, UPDATE (shared) ON {schema}.driftline_fence TO {users['apply']}")
    if "conduct" in users:
        yield Statement(f"GRANT INSERT ON {schema}.driftline_signal TO {users['conduct']}")
    if "canary" in users and CANARY in published:
        yield Statement(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.{CANARY} TO {users['canary']}")


def standby_statements(store: StoreSettings) -> list[Statement]:
    """Return what lets the role `read` see the beacon in a standby of MariaDB or MySQL: no log brings logins there."""
    if "read" not in store.roles:
        return []
    user = _mysql_user(store, "read")
    return [*_mysql_login("read", user), _sees_beacon(store, user)]


def _sees_beacon(store: StoreSettings, user: str) -> Statement:
    return Statement(f"GRANT SELECT ON {_name(store.kind, store.schema)}.driftline_beacon TO {user}")


def _mysql_user(store: StoreSettings, role: Role) -> str:
    return f"{_text(store.roles[role].user)}@'%'"


def _mysql_login(role: Role, user: str) -> Iterator[Statement]:
    yield Statement(f"CREATE USER IF NOT EXISTS {user} IDENTIFIED BY {HIDDEN}", role=role)
    yield Statement(f"ALTER USER {user} IDENTIFIED BY {HIDDEN}", role=role)


def _on_contract_table(right: _Rights, name: str, users: Mapping[Role, str]) -> Iterator[Statement]:
    for role in _ON_CONTRACTS:
        if role in users:
            yield Statement(f"GRANT SELECT ON {name} TO {users[role]}", needs=right.table)
    if "apply" in users and right.writes:
        yield Statement(
            f"GRANT INSERT ({right.columns}), UPDATE ({right.changed}) ON {name} TO {users['apply']}",
            needs=right.table,
        )
        if right.deletes:
            # Who deletes a row must be able to put it back whole, with the columns that no contract names.
            yield Statement(f"GRANT DELETE, INSERT ON {name} TO {users['apply']}", needs=right.table)


def _postgres_logins(store: StoreSettings, users: Mapping[Role, str]) -> Iterator[Statement]:
    schema = _name(store.kind, store.schema)
    for role, user in users.items():
        plain = _text(store.roles[role].user)
        yield Statement(
            f"DO $driftline$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {plain})"
            f" THEN CREATE ROLE {user} LOGIN; END IF; END $driftline$"
        )
        yield Statement(f"ALTER ROLE {user} LOGIN PASSWORD {HIDDEN}", role=role)
        yield Statement(f"GRANT CONNECT ON DATABASE {_name(store.kind, store.database)} TO {user}")
        # Also from tables that no contract names any more. Rights on columns go with those on their table.
        yield Statement(
            "DO $driftline$ DECLARE place record; BEGIN FOR place IN SELECT DISTINCT n.nspname, c.relname"  # noqa: S608 - quoted names only
            " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,"
            " pg_catalog.aclexplode(c.relacl) a JOIN pg_catalog.pg_roles r ON r.oid = a.grantee"
            f" WHERE r.rolname = {plain} AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"
            " LOOP EXECUTE pg_catalog.format('REVOKE ALL ON TABLE %I.%I FROM %I', place.nspname, place.relname,"
            f" {plain}); END LOOP; END $driftline$"
        )
        if role != "read":
            yield Statement(f"GRANT USAGE ON SCHEMA {schema} TO {user}")


def _published(store: StoreSettings, tables: Iterable[str]) -> Iterator[Statement]:
    """Own tables must be in every publication that carries some tables of this database for our connector.

    A publication named `driftline...` is ours; one that has all tables or the whole schema needs nothing.
    """
    for table in tables:
        yield Statement(
            "DO $driftline$ DECLARE name text; BEGIN FOR name IN SELECT pubname FROM pg_catalog.pg_publication p"  # noqa: S608 - quoted names only
            " WHERE pubname LIKE 'driftline%' AND NOT EXISTS (SELECT FROM pg_catalog.pg_publication_tables t"
            f" WHERE t.pubname = p.pubname AND t.schemaname = {_text(store.schema)} AND t.tablename = {_text(table)})"
            " LOOP EXECUTE pg_catalog.format('ALTER PUBLICATION %I ADD TABLE %I.%I', name,"
            f" {_text(store.schema)}, {_text(table)}); END LOOP; END $driftline$"
        )


def _mysql_roles(store: StoreSettings, rights: list[_Rights], published: Sequence[str]) -> Iterator[Statement]:
    kind, schema = store.kind, _name(store.kind, store.schema)
    users = {role: _mysql_user(store, role) for role in LOGINS if role in store.roles}
    for role, user in users.items():
        yield from _mysql_login(role, user)
        yield Statement(f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {user}")
    yield from _on_own_tables(schema, users, published)
    if "read" in users and store.standbys:
        yield _sees_beacon(store, users["read"])
    if "capture" in store.roles:
        # The capture role is the connector's own, with the host that it was made with.
        capture = _text(store.roles["capture"].user)
        for table in (*published, _FENCE):
            rights_here = "SELECT, INSERT" if table == "driftline_signal" else "SELECT"
            yield Statement(f"GRANT {rights_here} ON {schema}.{table} TO {capture}@{{capture_host}}")
    for right in rights:
        yield from _on_contract_table(right, _table(kind, right.table), users)
        if "apply" in users and right.writes:
            # The catalogue hides from the role what would go along with a row, unless it has a right on a whole table:
            # by this one it can do nothing, since it may make no tables.
            text = f"GRANT SELECT ({REFERRING}), REFERENCES ON {ITS_TABLE} TO {users['apply']}"
            yield Statement(text, needs=right.table, for_each=right.table)


def run(store: StoreSettings, script: Iterable[Statement]) -> list[str]:
    """Run the statements with the role `admin`; return the contracts' tables that are not there yet.

    `Unready` says which statement the server refused, and why: an administrator may read the server's words.
    """
    if store.kind is StoreKind.MONGODB:
        return own_collections.run(store, script)
    where = f"store {store.name} at {store.host}:{store.port}"
    at = Statement("log in")
    missing: dict[str, None] = {}
    try:
        runner = _Postgres(store) if store.kind is StoreKind.POSTGRES else _Mysql(store)
        try:
            for at in script:
                if at.needs and not runner.has(at.needs):
                    missing[at.needs] = None
                    continue
                runner.execute(at)
            runner.finish()
        finally:
            runner.close()
    except (psycopg.Error, pymysql.MySQLError, OSError) as error:
        raise Unready(
            f"{at.text.splitlines()[0][:200]}: {str(error).strip()}",
            where=where,
            hint="is the server up, and may the role admin do this? nothing is lost by running init again",
        ) from None
    return list(missing)


class _Postgres:
    """Runs the script in one transaction."""

    def __init__(self, store: StoreSettings) -> None:
        self._store = store
        self._connection: psycopg.Connection[Any] = connect_postgres(store, "admin", Use.ADMIN)

    def has(self, table: str) -> bool:
        """Tell whether a table is there."""
        found = self._connection.execute("SELECT to_regclass(%s)", [_table(StoreKind.POSTGRES, table)]).fetchone()
        return bool(found and found[0] is not None)

    def execute(self, statement: Statement) -> None:
        """Run one statement; a password travels as its verifier only."""
        text = statement.text
        if statement.role:
            login = self._store.role(statement.role)
            verifier = self._connection.pgconn.encrypt_password(
                login.password().encode(), login.user.encode(), b"scram-sha-256"
            )
            text = text.replace(HIDDEN, _text(verifier.decode()))
        self._connection.execute(text.encode())

    def finish(self) -> None:
        """Make it last."""
        self._connection.commit()

    def close(self) -> None:
        """Let the connection go; what was not finished is undone."""
        self._connection.close()


class _Mysql:
    """Runs the script statement by statement; users stay out of the binary log, with their password hashes."""

    def __init__(self, store: StoreSettings) -> None:
        self._store = store
        self._connection = connect_mysql(store, "admin", Use.ADMIN)

    def _ask(self, text: str, parameters: list[str]) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(text, parameters)
            found = list(cursor.fetchall())
        # Inside a transaction the binary log cannot be switched.
        self._connection.commit()
        return found

    def _place(self, table: str) -> list[str]:
        return table.split(".", 1) if "." in table else [self._store.database, table]

    def has(self, table: str) -> bool:
        """Tell whether a table is there."""
        text = "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = %s"
        return bool(self._ask(text, self._place(table)))

    def execute(self, statement: Statement) -> None:
        """Run one statement."""
        text = statement.text
        is_about_users = text.startswith(("CREATE USER", "ALTER USER", "GRANT", "REVOKE"))
        if statement.role:
            text = text.replace(HIDDEN, self._connection.escape(self._store.role(statement.role).password()))
        texts = [text]
        if "{capture_host}" in text:
            user = self._store.role("capture").user
            hosts = self._ask("SELECT host FROM mysql.user WHERE user = %s", [user])
            texts = [text.replace("{capture_host}", self._connection.escape(str(host))) for (host,) in hosts]
        if statement.for_each:
            kind, found = self._store.kind, self._ask(_FOLLOWING, self._place(statement.for_each))
            texts = [
                text.replace(ITS_TABLE, f"{_name(kind, schema)}.{_name(kind, table)}").replace(
                    REFERRING, _name(kind, column)
                )
                for schema, table, column in found
            ]
        with self._connection.cursor() as cursor:
            cursor.execute(f"SET SESSION sql_log_bin = {0 if is_about_users else 1}")
            for each in texts:
                cursor.execute(each)
        self._connection.commit()

    def finish(self) -> None:
        """Every statement has been committed by itself."""

    def close(self) -> None:
        """Let the connection go."""
        self._connection.close()
