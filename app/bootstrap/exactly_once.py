"""Whether the source connectors deliver exactly once, which every barrier rests on."""

from __future__ import annotations

from collections.abc import Sequence

from app.adapters.logs import error_fields, log
from app.adapters.preflight_connect import refuse_at_least_once
from app.bootstrap.sources import stores_compared
from app.core.contract import EntityContract
from app.core.errors import Unready
from app.settings import Settings


def check_exactly_once(settings: Settings, contracts: Sequence[EntityContract]) -> None:
    """Refuse connectors that may deliver twice (`ContractViolation`), as far as Connect can be asked; say where not."""
    stores = stores_compared(settings, contracts)
    named = [store.connector for store in stores if store.connector is not None]
    if settings.connect is None or len(named) < len(stores):
        hint = "set connect, and connector for each store"
        log().warning("nobody checks that every source connector delivers exactly once", hint=hint)
    if settings.connect is not None and named:
        try:
            refuse_at_least_once(settings.connect, named)
        except Unready as fault:
            log().warning("cannot check that source connectors deliver exactly once", **error_fields(fault))
