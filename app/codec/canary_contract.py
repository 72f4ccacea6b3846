"""The contract of the canary's table, made from the settings: one like any other, by which nothing is repaired.

It names no pipeline, for the canary writes to every store itself. One open drift is the canary's own, and no alarm.
"""

from __future__ import annotations

from app.codec.contract_shape import Authority, ComparedField, ContractShape, KeyPart, ReplicaShape, Tolerate
from app.core.canary import ENTITY
from app.core.contract import FieldKind
from app.settings import Settings


def canary_shape(settings: Settings) -> ContractShape | None:
    """Return the contract as if it had been written down; None where the settings want no canary."""
    if settings.canary is None:
        return None
    tables = {store.name: f"{store.schema}.{ENTITY}" for store in settings.canary_stores}
    authority, *replicas = tables
    window_ms = settings.canary.window_ms
    return ContractShape(
        entity=ENTITY,
        version=1,
        # Connectors give the topics of Driftline's own tables one partition.
        authority=Authority(authority, tables[authority], partitions=1),
        replicas=[ReplicaShape(store, tables[store], window_ms, partitions=1) for store in replicas],
        key={"id": KeyPart(FieldKind.INT64)},
        fields={"state": ComparedField(FieldKind.INT64, nullable=False)},
        description="The table in which Driftline plants drifts to measure itself.",
        tolerate=Tolerate(open_rows=1),
    )
