"""Metrics as Prometheus reads them, made from the declarations in `app.observe` and from nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.metadata import version
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from app.observe import ALL_METRICS, BUILD_INFO, Label, Metric, MetricType

_CONFIGURED_VALUES_MAX: Final = 500
"""A label of configured names with more values than this is a mistake of ours: it would drown Prometheus."""

_Series = Counter | Gauge | Histogram


class Metrics:
    """All metrics of a process, in a registry of their own. Thread-safe, as prometheus_client is."""

    def __init__(self) -> None:
        # When a series was made is a second series for each, and of no use to anybody here.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types for it
        self._registry = CollectorRegistry()
        self._families: dict[str, _Series] = {m.name: self._family(m) for m in ALL_METRICS}
        self._children: dict[tuple[str, tuple[str, ...]], _Series] = {}
        self._seen: dict[Label, set[str]] = {}
        self.set(BUILD_INFO, 1, version=version("driftline"), revision=os.environ.get("DRIFTLINE_REVISION", ""))

    def _family(self, metric: Metric) -> _Series:
        names = [label.value for label in metric.labels]
        if metric.type is MetricType.COUNTER:
            return Counter(metric.name, metric.meaning, names, registry=self._registry)
        if metric.type is MetricType.GAUGE:
            return Gauge(metric.name, metric.meaning, names, registry=self._registry)
        return Histogram(metric.name, metric.meaning, names, registry=self._registry, buckets=metric.buckets)

    def _child(self, metric: Metric, labels: dict[str, str]) -> _Series:
        values = tuple(labels[label.value] for label in metric.labels if label.value in labels)
        key = (metric.name, values)
        child = self._children.get(key)
        if child is None or len(labels) != len(metric.labels):
            self._check(metric, labels)
            family = self._families[metric.name]
            child = family.labels(*values) if values else family
            self._children[key] = child
        return child

    def _check(self, metric: Metric, labels: dict[str, str]) -> None:
        declared = {label.value for label in metric.labels}
        if set(labels) != declared:
            raise ValueError(f"{metric.name} has the labels {sorted(declared)}, not {sorted(labels)}")
        for label in metric.labels:
            value, closed = labels[label.value], metric.closed_values(label)
            if closed is not None and value not in closed:
                raise ValueError(f"{metric.name}: {label.value} is one of {closed}")
            if closed is None:
                seen = self._seen.setdefault(label, set())
                seen.add(value)
                if len(seen) > _CONFIGURED_VALUES_MAX:
                    raise ValueError(f"{metric.name}: {label.value} has too many values")

    def add(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        child = self._child(metric, labels)
        if not isinstance(child, Counter):
            raise TypeError(f"{metric.name} is no counter")
        child.inc(amount)

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge."""
        child = self._child(metric, labels)
        if not isinstance(child, Gauge):
            raise TypeError(f"{metric.name} is no gauge")
        child.set(value)

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Put a value into a histogram."""
        child = self._child(metric, labels)
        if not isinstance(child, Histogram):
            raise TypeError(f"{metric.name} is no histogram")
        child.observe(value)

    def expect(self, entities: Iterable[str], stores: Iterable[str]) -> None:
        """Export zero for every series that is known to exist, so that a rate over its first event is no gap."""
        configured = {Label.ENTITY: tuple(entities), Label.STORE: tuple(stores)}
        for metric in ALL_METRICS:
            combinations: list[dict[str, str]] = [{}]
            for label in metric.labels:
                values = metric.closed_values(label) or configured.get(label, ())
                combinations = [{**c, label.value: v} for c in combinations for v in values]
            if metric.type is MetricType.COUNTER:
                for labels in combinations:
                    self.add(metric, 0, **labels)

    def page(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
