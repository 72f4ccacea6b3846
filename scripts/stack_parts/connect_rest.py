"""Kafka Connect's REST interface; an error repeats what Connect said."""

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from stack_parts.failure import StackError

# A validation that tries a dead database takes as long as that database's driver: MongoDB's takes 30 s.
REQUEST_TIMEOUT_S = 90.0
# A worker that rebalances answers 409; it is asked again this long.
PATIENCE_S = 30.0
_NOT_FOUND, _CONFLICT = 404, 409


@dataclass(frozen=True)
class ConnectRest:
    """One Connect worker."""

    url: str

    def ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON of many shapes
        """Send one request and return the answer; None where Connect answers nothing or does not know the thing."""
        until_s = time.monotonic() + PATIENCE_S
        request = urllib.request.Request(  # noqa: S310 - an address of our own stack
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"content-type": "application/json"},
        )
        while True:
            try:
                with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as answer:  # noqa: S310
                    text = answer.read()
                    return json.loads(text) if text else None
            except urllib.error.HTTPError as refusal:
                if refusal.code == _NOT_FOUND:
                    return None
                said = _message(refusal.read())
                # Just after a connector was made, some questions get this as a 500.
                passes = refusal.code == _CONFLICT or "rebalance" in said
                if not passes or time.monotonic() > until_s:
                    raise StackError(f"Connect refused {method} {path} ({refusal.code}): {said}") from None
            except (OSError, http.client.HTTPException) as failure:
                raise StackError(
                    f"Connect does not answer at {self.url}: {failure}", "run scripts/stack up and scripts/stack logs"
                ) from None
            time.sleep(0.2)

    def config(self, name: str) -> dict[str, str] | None:
        """A connector's configuration as Connect holds it, or None when there is no such connector."""
        told = self.ask("GET", f"/connectors/{_quoted(name)}/config")
        return None if told is None else {key: str(value) for key, value in told.items()}

    def faults(self, name: str, config: dict[str, str]) -> list[str]:
        """What the connector's own validation has against a configuration, field by field."""
        plugin = _quoted(config["connector.class"])
        told = self.ask("PUT", f"/connector-plugins/{plugin}/config/validate", {"name": name, **config})
        if told is None:
            return [f"connector.class: this worker has no plugin {config['connector.class']}"]
        return [f"{entry['value']['name']}: {error}" for entry in told["configs"] for error in entry["value"]["errors"]]

    def put(self, name: str, config: dict[str, str]) -> None:
        """Create the connector or change its configuration."""
        self.ask("PUT", f"/connectors/{_quoted(name)}/config", config)

    def states(self, name: str) -> list[str]:
        """The state of the connector and of each of its tasks; empty while Connect does not know it."""
        status = self.ask("GET", f"/connectors/{_quoted(name)}/status")
        if status is None:
            return []
        return [status["connector"]["state"], *(task["state"] for task in status["tasks"])]

    def failure(self, name: str) -> str:
        """Why the connector or its task failed: the causes of its trace, one line."""
        status = self.ask("GET", f"/connectors/{_quoted(name)}/status") or {"connector": {}, "tasks": []}
        return causes_of(part.get("trace", "") for part in (status["connector"], *status["tasks"])) or "no trace"

    def act(self, name: str, action: str) -> Any:  # noqa: ANN401 - JSON
        """Pause, resume, stop or restart a connector, or tell its offsets or status."""
        method, path = {
            "pause": ("PUT", "/pause"),
            "resume": ("PUT", "/resume"),
            "stop": ("PUT", "/stop"),
            "restart": ("POST", "/restart?includeTasks=true"),
            "restart-failed": ("POST", "/restart?includeTasks=true&onlyFailed=true"),
            "offsets": ("GET", "/offsets"),
            "status": ("GET", "/status"),
            "delete": ("DELETE", ""),
        }[action]
        if self.config(name) is None:
            known = ", ".join(self.ask("GET", "/connectors") or []) or "none"
            raise StackError(f"{self.url} has no connector {name}", f"it has: {known}")
        return self.ask(method, f"/connectors/{_quoted(name)}{path}")


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def _message(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["message"])[:1500]
    except (ValueError, KeyError, TypeError):
        return answer.decode(errors="replace")[:500]


def causes_of(traces: Iterable[str]) -> str:
    """Return what Java's traces say was the matter, on one line: their first lines, and the causes below them."""
    causes = [
        line.strip()
        for trace in traces
        for number, line in enumerate(trace.strip().splitlines())
        if number == 0 or line.startswith("Caused by:")
    ]
    return " / ".join(causes)[:1500]
