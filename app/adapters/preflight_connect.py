"""What `driftline check` needs to know of Kafka Connect, from its REST API."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

import httpx

from app.core.errors import Unready
from app.core.preflight.facts import ConnectorFacts
from app.settings import ConnectSettings

_TIMEOUT_S: Final = 10.0


def read_connect(connect: ConnectSettings, names: Iterable[str]) -> tuple[dict[str, ConnectorFacts], bool]:
    """Return the connectors of these names that exist, and whether Connect answers without a login."""
    login = (connect.user, connect.password()) if connect.user else None
    try:
        with httpx.Client(base_url=connect.url, timeout=_TIMEOUT_S) as client:
            is_open = client.get("/connectors").is_success
            found = {}
            for name in names:
                facts = _connector(client, name, None if is_open else login)
                if facts is not None:
                    found[name] = facts
    except (httpx.HTTPError, ValueError) as error:
        said = str(error) or type(error).__name__
        hint = "is the Connect worker up, and are connect.url, user and password_file right?"
        raise Unready(f"Connect cannot be asked: {said}", where=connect.url, hint=hint) from error
    return found, is_open


def _connector(client: httpx.Client, name: str, login: tuple[str, str] | None) -> ConnectorFacts | None:
    path = f"/connectors/{quote(name, safe='')}"
    config = _get(client, f"{path}/config", login)
    if config is None:
        return None
    status = _get(client, f"{path}/status", login) or {}
    tasks = status.get("tasks", [])
    return ConnectorFacts(
        name=name,
        config={str(key): str(value) for key, value in config.items()},
        state=str(status.get("connector", {}).get("state", "UNKNOWN")),
        task_states=tuple(str(task.get("state", "UNKNOWN")) for task in tasks),
    )


def _get(client: httpx.Client, path: str, login: tuple[str, str] | None) -> dict[str, Any] | None:
    answer = client.get(path, auth=httpx.BasicAuth(*login) if login else None)
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    answer.raise_for_status()
    document = answer.json()
    if not isinstance(document, dict):
        raise ValueError(f"{path} is no object")  # noqa: TRY004 - told like any malformed answer
    return document
