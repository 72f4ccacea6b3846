"""How a worker's Faust app is put together."""

from __future__ import annotations

from pathlib import Path

from app.agents.build import WorkerShape, build_app
from app.settings import KafkaSecurity


def test_no_page_of_faust_shows_what_a_worker_holds(tmp_path: Path) -> None:
    """Its web server lists tables and their keys to anybody who asks."""
    shape = WorkerShape("d", "127.0.0.1:1", KafkaSecurity(), tmp_path, "one", 1, 500, 500, 2**20, 0)
    app = build_app(shape)
    assert app.conf.web_enabled is False
