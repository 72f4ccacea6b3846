"""The rates of a deployment's entities, for `driftline cost`: one YAML file, checked against the contracts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta

from app.core.contract import EntityContract
from app.core.cost import EntityLoad
from app.declared.document import read_document
from app.declared.fault import Fault, Refused, nearest, shown
from app.declared.shape import Broken, Shaper
from app.settings import StoreSettings

ROWS_MAX: Final = 10**12
CHANGES_PER_S_MAX: Final = 10**8

Rows = Annotated[int, Meta(ge=0, le=ROWS_MAX, description="rows of the authority's table")]
ChangesPerS = Annotated[
    float, Meta(ge=0, le=CHANGES_PER_S_MAX, description="changes a second of the authority's table")
]
Share = Annotated[float, Meta(ge=0, le=1, description="the share of changes after which stores differ, 0 to 1")]
RowBytes = Annotated[int, Meta(ge=1, le=2**30, description="bytes of a change record in Kafka, as its topic tells")]


@dataclass(frozen=True, slots=True)
class EntityRates:
    """What happens to one entity. Without `row_bytes` the size is estimated from the compared fields."""

    rows: Rows
    changes_per_s: ChangesPerS
    zipf: Annotated[bool, Meta(description="true if few rows change most of the time")] = False
    drifting: Share = 0.0
    row_bytes: RowBytes | None = None


@dataclass(frozen=True, slots=True)
class _Rates:
    entities: Annotated[dict[str, EntityRates], Meta(min_length=1, description="rates by entity")]


def read_loads(
    path: Path, contracts: Sequence[EntityContract], stores: Mapping[str, StoreSettings]
) -> list[EntityLoad]:
    """Return each contract's entity with its rates; raise `Refused` with every fault of the file."""
    root = read_document(path)
    shaper = Shaper()
    rates = shaper.record(_Rates, root)
    faults = list(shaper.faults)
    named = {contract.entity for contract in contracts}
    entities = root.below("entities")
    told = entities.value if entities is not None and isinstance(entities.value, dict) else {}
    if entities is not None:
        for name in told:
            if name not in named:
                what = f"no contract is about {shown(name)}"
                faults.append(Fault(entities.keys[name], what, nearest(name, named)))
        for name in sorted(named - told.keys()):
            what = f"the entity {shown(name)} has no rates"
            faults.append(Fault(root.key_at("entities"), what, "add its rows and changes_per_s"))
    if faults or isinstance(rates, Broken):
        raise Refused(faults)
    return [_load(contract, rates.entities[contract.entity], stores) for contract in contracts]


def _load(contract: EntityContract, rates: EntityRates, stores: Mapping[str, StoreSettings]) -> EntityLoad:
    return EntityLoad(
        entity=contract.entity,
        rows=rates.rows,
        changes_per_s=rates.changes_per_s,
        fields=len(contract.fields),
        converters=tuple(stores[table.store].converter for table in contract.stores),
        window_ms=max(replica.window_ms for replica in contract.replicas),
        zipf=rates.zipf,
        drifting=rates.drifting,
        row_bytes=rates.row_bytes,
    )
