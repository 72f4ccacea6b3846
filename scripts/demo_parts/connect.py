"""Kafka Connect's REST interface, as far as the demo steers connectors with it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from stack_parts.connect_rest import causes_of


class ConnectRefused(RuntimeError):
    """Connect answered with an error; the text is Connect's own."""


@dataclass(frozen=True, slots=True)
class Connect:
    """One Connect worker."""

    url: str

    def ask(self, method: str, path: str, body: object = None, *, patience_s: float = 30.0) -> Any:  # noqa: ANN401 - JSON
        """Send one request; a worker that is rebalancing (409) or starting is asked again until patience ends."""
        data = None if body is None else json.dumps(body).encode()
        until = time.monotonic() + patience_s
        while True:
            request = urllib.request.Request(  # noqa: S310 - a loopback address of the stack
                f"{self.url}{path}", data=data, method=method, headers={"content-type": "application/json"}
            )
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
                    text = answer.read()
                    return json.loads(text) if text else None
            except urllib.error.HTTPError as error:
                said = error.read().decode(errors="replace")
                if error.code not in {409, 500, 503} or time.monotonic() > until:
                    raise ConnectRefused(f"{method} {self.url}{path}: HTTP {error.code}: {said[:800]}") from error
            except OSError as error:
                if time.monotonic() > until:
                    raise ConnectRefused(f"{method} {self.url}{path}: {error}") from error
            time.sleep(0.3)

    def connectors(self) -> list[str]:
        """Return the names of the worker's connectors."""
        return sorted(self.ask("GET", "/connectors"))

    def config(self, name: str) -> dict[str, str]:
        """Return a connector's configuration."""
        return dict(self.ask("GET", f"/connectors/{name}/config"))

    def states(self, name: str) -> list[str]:
        """Return the state of the connector and of each of its tasks."""
        status = self.ask("GET", f"/connectors/{name}/status")
        return [status["connector"]["state"], *(task["state"] for task in status["tasks"])]

    def failure(self, name: str) -> str:
        """Return the causes of a failed task's trace on one line, or nothing."""
        status = self.ask("GET", f"/connectors/{name}/status")
        return causes_of(task.get("trace", "") for task in status["tasks"] if task["state"] == "FAILED")

    def pause(self, name: str) -> None:
        """Pause a connector; its tasks stay and do nothing."""
        self.ask("PUT", f"/connectors/{name}/pause")
        self._await(name, lambda states: all(state == "PAUSED" for state in states))

    def resume(self, name: str) -> None:
        """Let a paused or stopped connector run."""
        self.ask("PUT", f"/connectors/{name}/resume")
        self._await(name, lambda states: len(states) > 1 and all(state == "RUNNING" for state in states))

    def restart(self, name: str, *, only_failed: bool = False) -> None:
        """Start a connector and its tasks again, or those that have failed, and wait until all run."""
        self.ask("POST", f"/connectors/{name}/restart?includeTasks=true&onlyFailed={str(only_failed).lower()}")
        self._await(name, lambda states: len(states) > 1 and all(state == "RUNNING" for state in states))

    def stop(self, name: str) -> None:
        """Stop a connector and end its tasks, so that its offsets may be changed."""
        self.ask("PUT", f"/connectors/{name}/stop")
        self._await(name, lambda states: states == ["STOPPED"])

    def sink_offsets(self, name: str) -> dict[tuple[str, int], int]:
        """Return a sink's committed offsets by topic and partition."""
        answer = self.ask("GET", f"/connectors/{name}/offsets")
        return {
            (entry["partition"]["kafka_topic"], int(entry["partition"]["kafka_partition"])): int(
                entry["offset"]["kafka_offset"]
            )
            for entry in answer["offsets"]
        }

    def move_sink(self, name: str, offsets: dict[tuple[str, int], int]) -> None:
        """Set a stopped sink's offsets; what lies between is never written."""
        body = {
            "offsets": [
                {"partition": {"kafka_topic": topic, "kafka_partition": partition}, "offset": {"kafka_offset": offset}}
                for (topic, partition), offset in offsets.items()
            ]
        }
        self.ask("PATCH", f"/connectors/{name}/offsets", body)

    def _await(self, name: str, reached: Any) -> None:  # noqa: ANN401 - a predicate on states
        until = time.monotonic() + 30
        states: list[str] = []
        while time.monotonic() < until:
            states = self.states(name)
            if reached(states):
                return
            time.sleep(0.1)
        raise ConnectRefused(f"connector {name} stays in {states}: {self.failure(name) or 'no trace'}")
