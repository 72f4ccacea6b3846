"""What is to be reached on two cores with the broker on the same machine, and whether it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

_GIBIBYTE: Final = 1024**3
_SMALL_KEYS, _LARGE_KEYS = 1_000_000, 10_000_000


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure and its bound; `at_most` says on which side of it is well."""

    name: str
    figure: float
    bound: float
    at_most: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the figure is on the right side of its bound."""
        return self.figure <= self.bound if self.at_most else self.figure >= self.bound


def bars(told: Mapping[str, Any]) -> list[Bar]:
    """Return every bar whose figure was measured."""
    found = list(_whole_path(told["whole_path"]["loads"])) if "whole_path" in told else []
    found += _same_hop(told.get("times_as_fast_as", {}))
    if "latency" in told:
        p99_s = told["latency"]["at_50_percent"]["p99_ms"] / 1_000
        found.append(Bar("detection p99 at 50 % load, s after the window", p99_s, 3.0, at_most=True))
    if "burst" in told:
        stood_s = told["burst"]["offset_stood_max_ms"] / 1_000
        found.append(Bar("an offset stood still in a burst, s", stood_s, 1.0, at_most=True))
    if "recovery" in told:
        recovery = told["recovery"]
        found.append(Bar("recovery, records/s", recovery["records_per_s"], 250_000))
        found.append(Bar("kill -9 to first verdict, s", recovery["kill_to_first_verdict_s"], 8.0, at_most=True))
        found.append(Bar("notice to a standby's commit, s", recovery["notice_to_standby_s"], 5.0, at_most=True))
    return found


def _whole_path(loads: Mapping[str, Mapping[str, Any]]) -> Iterator[Bar]:
    def of(converter: str, columns: int, spread: str, keys: int | None = None) -> Mapping[str, Any] | None:
        fitting = [
            load
            for load in loads.values()
            if (load["converter"], load["columns"], load["spread"]) == (converter, columns, spread)
            and not load["drifting"]
            and keys in {None, load["keys"]}
        ]
        return min(fitting, key=lambda load: int(load["keys"]), default=None)

    for what, load, bound in (
        ("JSON, 10 columns, uniform keys", of("json", 10, "uniform"), 40_000),
        ("JSON, 10 columns, Zipf keys", of("json", 10, "zipf"), 50_000),
        ("Avro, 10 columns", of("avro", 10, "uniform"), 22_000),
        ("JSON, 40 columns", of("json", 40, "uniform"), 20_000),
    ):
        if load is not None:
            yield Bar(f"whole path, {what}: changes/s per core", load["changes_per_s_per_core"], bound)
    for spread, more in (("zipf", 15.0), ("uniform", 50.0)):
        small, large = of("json", 10, spread, _SMALL_KEYS), of("json", 10, spread, _LARGE_KEYS)
        if small is not None and large is not None:
            growth = round((large["cpu_s_per_million"] / small["cpu_s_per_million"] - 1) * 100, 1)
            yield Bar(f"cost from 1 M to 10 M keys, {spread}: % more", growth, more, at_most=True)
            peak = round(large["peak_rss_bytes"] / _GIBIBYTE, 2)
            yield Bar(f"peak memory at 10 M keys, {spread}: GiB", peak, 1.0, at_most=True)


def _same_hop(times: Mapping[str, Mapping[str, float]]) -> Iterator[Bar]:
    for peer, how, what, bound in (
        ("plain_faust", "wall", "plain Faust", 25.0),
        ("quix_streams", "wall", "Quix Streams", 2.0),
        ("kafka_streams", "wall", "Kafka Streams", 1.1),
        ("kafka_streams", "per_core", "Kafka Streams, per CPU second", 2.0),
        ("bare_librdkafka", "wall", "bare librdkafka", 0.9),
    ):
        if peer in times:
            yield Bar(f"same hop, times as fast as {what}", times[peer][how], bound)
