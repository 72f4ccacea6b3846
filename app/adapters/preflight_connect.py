"""What `driftline check` needs to know of Kafka Connect, from its REST API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

import httpx

from app.core.errors import ContractViolation, Unready
from app.core.preflight.facts import ConnectorFacts
from app.settings import ConnectSettings

_TIMEOUT_S: Final = 10.0
_EXACTLY_ONCE: Final = "exactly.once.support"
_ADDRESSES: Final = ("database.", "mongodb.")


def refuse_at_least_once(connect: ConnectSettings, names: Iterable[str]) -> None:
    """Raise `ContractViolation` for connectors that may deliver twice; `Unready` if Connect cannot be asked.

    A beacon could then overtake older changes of other partitions, and watermarks would promise too much. One that does
    not exist delivers nothing.
    """
    with _asking(connect) as (client, login):
        configs = {name: _get(client, f"/connectors/{quote(name, safe='')}/config", login) for name in names}
    lax = [name for name, config in configs.items() if config and not _facts(name, config).requires_exactly_once]
    if lax:
        raise ContractViolation(
            f"{', '.join(lax)}: exactly.once.support is not required, so a beacon may overtake older changes",
            where=connect.url,
            hint='set "exactly.once.support": "required" and the worker\'s exactly.once.source.support=enabled',
        )


@contextmanager
def _asking(connect: ConnectSettings) -> Iterator[tuple[httpx.Client, tuple[str, str] | None]]:
    """Give a client and the login; whatever goes wrong in asking is `Unready`."""
    login = (connect.user, connect.password()) if connect.user else None
    try:
        with httpx.Client(base_url=connect.url, timeout=_TIMEOUT_S) as client:
            yield client, login
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
        said = str(error) or type(error).__name__
        hint = "is the Connect worker up, and are connect.url, user and password_file right?"
        raise Unready(f"Connect cannot be asked: {said}", where=connect.url, hint=hint) from error


def read_connect(connect: ConnectSettings, names: Iterable[str]) -> tuple[dict[str, ConnectorFacts], bool]:
    """Return the connectors of these names that exist, and whether Connect answers without a login."""
    with _asking(connect) as (client, login):
        is_open = client.get("/connectors").is_success
        found = {}
        for name in names:
            facts = _connector(client, name, None if is_open else login)
            if facts is not None:
                found[name] = facts
    return found, is_open


def _connector(client: httpx.Client, name: str, login: tuple[str, str] | None) -> ConnectorFacts | None:
    path = f"/connectors/{quote(name, safe='')}"
    config = _get(client, f"{path}/config", login)
    if config is None:
        return None
    status = _get(client, f"{path}/status", login) or {}
    tasks = status.get("tasks", [])
    return replace(
        _facts(name, config),
        state=str(status.get("connector", {}).get("state", "UNKNOWN")),
        task_states=tuple(str(task.get("state", "UNKNOWN")) for task in tasks),
        exactly_once_refusal=_exactly_once_refusal(client, config, login),
    )


def _facts(name: str, config: Mapping[str, Any]) -> ConnectorFacts:
    return ConnectorFacts(name, {str(key): str(value) for key, value in config.items()})


def _exactly_once_refusal(client: httpx.Client, config: Mapping[str, Any], login: tuple[str, str] | None) -> str:
    """Return what Connect says against this configuration's exactly-once support, for its worker or its connector.

    Connect asks both whenever a configuration is checked, and never again once the connector runs. Without an address
    the connector does not try its database, which may be away.
    """
    stated = {name: value for name, value in config.items() if not name.startswith(_ADDRESSES)}
    path = f"/connector-plugins/{quote(str(config.get('connector.class', '')), safe='')}/config/validate"
    answer = client.request("PUT", path, json=stated, auth=httpx.BasicAuth(*login) if login else None)
    answer.raise_for_status()
    errors = {entry["value"]["name"]: entry["value"]["errors"] for entry in _document(answer, path)["configs"]}
    return str(errors[_EXACTLY_ONCE][0]) if errors[_EXACTLY_ONCE] else ""


def _get(client: httpx.Client, path: str, login: tuple[str, str] | None) -> dict[str, Any] | None:
    answer = client.get(path, auth=httpx.BasicAuth(*login) if login else None)
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    answer.raise_for_status()
    return _document(answer, path)


def _document(answer: httpx.Response, path: str) -> dict[str, Any]:
    document = answer.json()
    if not isinstance(document, dict):
        raise ValueError(f"{path} is no object")  # noqa: TRY004 - told like any malformed answer
    return document
