"""From a bench's figures to the constants of the cost model; what it did not measure stays as it is shipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log10
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from app.bench.load import Spread
from app.core.cost_constants import Constants, PerFields
from app.core.errors import ContractViolation
from app.core.store import Converter

FOLD_SHARE: Final = 0.43
"""The fold's share of a record's CPU, JSON and ten columns: the bench reads a process, which does both hops.

By a sampled profile of the whole path (docs/engine.md) ingest takes 51 of 100, folding and commits 38; what belongs to
neither (Kafka's clients, reports, the event loop) is given to both alike.
"""

_BYTES_MAX: Final = 16 * 1024 * 1024
Positive = Annotated[float, Meta(gt=0, le=1e15)]


class LoadFigures(msgspec.Struct, frozen=True):
    """One load of the whole path, as `driftline bench --json` tells it."""

    converter: Converter
    columns: Annotated[int, Meta(ge=2, le=10_000)]
    keys: Annotated[int, Meta(ge=1)]
    spread: Spread
    drifting: Annotated[float, Meta(ge=0, le=1)]
    cpu_s_per_million: Positive
    input_bytes_per_change: Positive
    observations_bytes_per_change: Positive
    changelog_bytes_per_change: Positive
    state_bytes_per_key: Positive
    peak_rss_bytes: Positive

    @property
    def fields(self) -> int:
        """Half of the columns are compared."""
        return self.columns // 2


class _WholePath(msgspec.Struct, frozen=True):
    loads: Annotated[dict[str, LoadFigures], Meta(min_length=1)]


class _Latency(msgspec.Struct, frozen=True):
    changes_per_s: Positive
    worker_cores: Positive


class _Latencies(msgspec.Struct, frozen=True):
    at_50_percent: _Latency
    at_80_percent: _Latency


class _Recovery(msgspec.Struct, frozen=True):
    records_per_s_per_core: Positive
    kill_to_first_verdict_s: Positive


class BenchFigures(msgspec.Struct, frozen=True):
    """What the model needs of a bench's JSON; everything else in it is left alone."""

    whole_path: _WholePath
    latency: _Latencies | None = None
    recovery: _Recovery | None = None


def read_constants(path: Path, shipped: Constants) -> Constants:
    """Return the constants that a bench's JSON tells; `ContractViolation` if it is none."""
    hint = "give a file that `driftline bench --json FILE` wrote, the part whole-path in it"
    try:
        with path.open("rb") as file:
            raw = file.read(_BYTES_MAX + 1)
    except OSError as error:
        raise ContractViolation(f"cannot be read: {error.strerror}", where=str(path), hint=hint) from error
    if len(raw) > _BYTES_MAX:
        raise ContractViolation(f"is larger than {_BYTES_MAX} bytes", where=str(path), hint=hint)
    try:
        figures = msgspec.json.decode(raw, type=BenchFigures)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ContractViolation(f"tells no figures of a bench: {error}", where=str(path), hint=hint) from error
    return constants_of(figures, shipped, where=str(path))


def constants_of(figures: BenchFigures, shipped: Constants, *, where: str = "") -> Constants:
    """Return the constants that figures tell; `ContractViolation` if the load is missing that all others refer to."""
    loads = list(figures.whole_path.loads.values())
    base = _least(loads, Converter.JSON)
    if base is None:
        what = "has no load of JSON on uniform keys without drifts"
        raise ContractViolation(what, where=where, hint="measure json-10-200k-uniform too")
    fold_us = FOLD_SHARE * base.cpu_s_per_million
    found = replace(
        shipped,
        fold_us=fold_us,
        measured_rows=base.keys,
        ingest_us=_per_fields(loads, "cpu_s_per_million", shipped.ingest_us, less=fold_us),
        record_bytes=_per_fields(loads, "input_bytes_per_change", shipped.record_bytes),
        observation_bytes=base.observations_bytes_per_change,
        changelog_bytes=base.changelog_bytes_per_change,
        live_row_bytes=max(base.peak_rss_bytes - shipped.base_bytes, 0) / base.keys,
    )
    found = _with_spread(found, base, loads, shipped)
    if figures.latency is not None:
        found = replace(found, idle_cores=_idle_cores(figures.latency))
    if figures.recovery is not None:
        recovery = figures.recovery
        found = replace(
            found, recovered_per_s=recovery.records_per_s_per_core, restart_s=recovery.kill_to_first_verdict_s
        )
    return found


def _least(loads: Sequence[LoadFigures], converter: Converter) -> LoadFigures | None:
    """Return the load on uniform keys without drifts that has the fewest columns, and of those the fewest keys."""
    fitting = [
        load for load in loads if load.converter is converter and load.spread is Spread.UNIFORM and not load.drifting
    ]
    return min(fitting, key=lambda load: (load.columns, load.keys), default=None)


def _per_fields(
    loads: Sequence[LoadFigures], figure: str, shipped: Mapping[Converter, PerFields], *, less: float = 0.0
) -> dict[Converter, PerFields]:
    """Lay a line through the narrowest and the widest load of each converter; one load keeps the shipped slope."""
    found = dict(shipped)
    for converter in (Converter.JSON, Converter.AVRO):
        narrow = _least(loads, converter)
        if narrow is None:
            continue
        alike = [
            load
            for load in loads
            if (load.converter, load.spread, load.drifting, load.keys) == (converter, Spread.UNIFORM, 0, narrow.keys)
        ]
        wide = max(alike, key=lambda load: load.columns)
        low = getattr(narrow, figure) - less
        slope = shipped[converter].field
        if wide.fields > narrow.fields:
            slope = max(getattr(wide, figure) - less - low, 0.0) / (wide.fields - narrow.fields)
        found[converter] = PerFields(max(low - slope * narrow.fields, 0.0), slope)
    found[Converter.JSON_SCHEMA] = found[Converter.JSON]
    return found


def _with_state(found: Constants, base: LoadFigures, largest: LoadFigures) -> Constants:
    """Lay a line through the disk of the fewest and the most keys; one number of keys tells no line."""
    if largest.keys <= base.keys:
        return found
    few, many = (load.state_bytes_per_key * load.keys for load in (base, largest))
    of_row = max(many - few, 0.0) / (largest.keys - base.keys)
    return replace(found, state_bytes=of_row, uncompacted_bytes=max(few - of_row * base.keys, 0.0))


def _with_spread(found: Constants, base: LoadFigures, loads: Sequence[LoadFigures], shipped: Constants) -> Constants:
    """Add what loads tell that differ from the base in one thing: the spread of keys, their number, the drifts."""
    alike = [load for load in loads if (load.converter, load.columns) == (base.converter, base.columns)]
    calm = [load for load in alike if not load.drifting]
    largest = max((load for load in calm if load.spread is base.spread), key=lambda load: load.keys)
    found = replace(
        _with_state(found, base, largest),
        decade_us=_decade_us(base, largest, shipped.decade_us),
        fold_zipf_us=found.fold_us * shipped.fold_zipf_us / shipped.fold_us,
        changelog_zipf_bytes=found.changelog_bytes * shipped.changelog_zipf_bytes / shipped.changelog_bytes,
    )
    zipf = [load for load in calm if load.spread is Spread.ZIPF]
    same = next((load for load in zipf if load.keys == base.keys), None)
    if same is not None:
        most = max(zipf, key=lambda load: load.keys)
        found = replace(
            found,
            fold_zipf_us=max(found.fold_us + same.cpu_s_per_million - base.cpu_s_per_million, 0.0),
            changelog_zipf_bytes=same.changelog_bytes_per_change,
            decade_zipf_us=_decade_us(same, most, shipped.decade_zipf_us),
        )
    drifting = next(
        (load for load in alike if load.drifting and (load.spread, load.keys) == (base.spread, base.keys)), None
    )
    if drifting is not None:
        # Half of the records are the authority's, and `drifting` is a share of those.
        more_us = max(drifting.cpu_s_per_million - base.cpu_s_per_million, 0.0)
        found = replace(found, drift_us=2 * more_us / drifting.drifting)
    return found


def _decade_us(small: LoadFigures, large: LoadFigures, shipped_us: float) -> float:
    if large.keys <= small.keys:
        return shipped_us
    return max(large.cpu_s_per_million - small.cpu_s_per_million, 0.0) / log10(large.keys / small.keys)


def _idle_cores(latency: _Latencies) -> float:
    """Return where the line through two loads meets no load; never less than nothing."""
    low, high = latency.at_50_percent, latency.at_80_percent
    if high.changes_per_s <= low.changes_per_s:
        return 0.0
    slope = (high.worker_cores - low.worker_cores) / (high.changes_per_s - low.changes_per_s)
    return max(low.worker_cores - slope * low.changes_per_s, 0.0)
