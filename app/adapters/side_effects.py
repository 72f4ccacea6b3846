"""What a repair would set off besides its row, in stores that do not tell it by themselves: triggers, cascades.

PostgreSQL tells, and the applier refuses there. In MariaDB and MySQL it finds out what its role may see, and a cascade
is not even in their log, so an administrator is told when rights to write are given.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pymysql

from app.adapters.sql_clients import Use, connect_mysql
from app.core.contract import EntityContract, RepairMode
from app.core.errors import Unready
from app.core.guard import repair_policy
from app.core.store import StoreKind
from app.settings import StoreSettings

_TRIGGERS: Final = """
SELECT concat('trigger ', trigger_name, ' on ', lower(event_manipulation)) FROM information_schema.triggers
 WHERE event_object_schema = %s AND event_object_table = %s ORDER BY trigger_name
"""
_CASCADES: Final = """
SELECT concat('foreign key ', constraint_name, ' of ', table_name) FROM information_schema.referential_constraints
 WHERE unique_constraint_schema = %s AND referenced_table_name = %s
   AND (delete_rule IN ('CASCADE', 'SET NULL') OR update_rule IN ('CASCADE', 'SET NULL')) ORDER BY constraint_name
"""


def side_effects(store: StoreSettings, contracts: Iterable[EntityContract]) -> list[str]:
    """Return, for each table that may be repaired here, what a write to it would set off."""
    if store.kind not in {StoreKind.MARIADB, StoreKind.MYSQL}:
        return []
    tables = []
    for contract in contracts:
        policy = repair_policy(contract, store.name)
        if policy is not None and policy.mode is not RepairMode.OBSERVE:
            tables.append(contract.table_of(store.name).table)
    found = []
    try:
        connection = connect_mysql(store, "admin", Use.ADMIN)
        try:
            with connection.cursor() as cursor:
                for table in tables:
                    place = table.split(".", 1) if "." in table else [store.database, table]
                    for query in (_TRIGGERS, _CASCADES):
                        cursor.execute(query, place)
                        found += [f"{table}: {row[0]}" for row in cursor.fetchall()]
        finally:
            connection.close()
    except (pymysql.MySQLError, OSError) as error:
        where = f"store {store.name} at {store.host}:{store.port}"
        raise Unready(f"triggers and cascades cannot be looked for: {type(error).__name__}", where=where) from None
    return found
