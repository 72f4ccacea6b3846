"""The same hop, contender against contender: each a process over the same topic, in turns, as often as asked.

The clock of a contender runs from its first record until all it did is safe, by its own word, and what it has cost is
read from the kernel at these two moments. A contender whose state is not the expected one, key by key, has lost.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import IO, Final

from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # documented, not listed

from app.adapters.kafka import KafkaClients
from app.adapters.system_clock import wall_ms
from app.bench.deployment import QUIET
from app.bench.hop_events import expected_state, hop_events, state_of
from app.bench.peers import java_command, quix_command
from app.bench.process_cost import cpu_s, folder_bytes, peak_rss_bytes
from app.bench.store_log import PARTITIONS
from app.bench.writing import Writer
from app.core.errors import Unready

_PACKAGE: Final = "app.bench.contenders"
_PROJECT: Final = Path(__file__).resolve().parents[2]
_LIMIT_S: Final = 1_800.0
"""A contender that has not done its work by then is ended, and the bench with it."""

_SLOW_SHARE: Final = 25
_SLOW_CHANGES_MIN: Final = 1_000


@dataclass(frozen=True, slots=True)
class Contender:
    """A program of the same hop. A slow one is given a topic with fewer changes."""

    name: str
    command: Callable[[], Sequence[str]]
    is_slow: bool = False


def _ours(program: str) -> Callable[[], Sequence[str]]:
    return lambda: [sys.executable, "-m", f"{_PACKAGE}.{program}"]


ENGINE: Final = Contender("engine", _ours("engine"))
PEERS: Final = (
    Contender("bare_librdkafka", _ours("bare_librdkafka")),
    Contender("kafka_streams", java_command),
    Contender("quix_streams", quix_command),
    Contender("plain_faust", _ours("plain_faust"), is_slow=True),
)


@dataclass(frozen=True, slots=True)
class Ran:
    """What one run of a contender took."""

    changes: int
    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    state_bytes: int


class Contest:
    """One topic for all contenders, and a smaller one for the slow; `close` deletes both."""

    def __init__(self, bootstrap: str, changes: int, keys: int, say: Callable[[str], None]) -> None:
        self._bootstrap = bootstrap
        self._clients = KafkaClients(bootstrap, QUIET)
        self._admin: AdminClient = self._clients.admin("bench-hop")
        self._name = f"bench-{secrets.token_hex(4)}"
        self._say = say
        self._changes = {False: changes, True: max(_SLOW_CHANGES_MIN, changes // _SLOW_SHARE)}
        self._expected: dict[bool, Mapping[bytes, bytes]] = {}
        self._keys = keys

    def _topic(self, *, is_slow: bool) -> str:
        return f"{self._name}-{'few' if is_slow else 'all'}-events"

    def run(self, contenders: Sequence[Contender], repeat: int) -> dict[str, list[Ran]]:
        """Let every contender run, one after the other, so many times; what disturbs one then disturbs all."""
        for is_slow in {contender.is_slow for contender in contenders}:
            self._write(is_slow=is_slow)
        commands = {contender.name: list(contender.command()) for contender in contenders}
        runs: dict[str, list[Ran]] = {contender.name: [] for contender in contenders}
        for _ in range(repeat):
            for contender in contenders:
                ran = self._run(contender, commands[contender.name])
                self._say(f"{contender.name}: {ran.changes / ran.cpu_s:,.0f} changes per second and core")
                runs[contender.name].append(ran)
        return runs

    def _write(self, *, is_slow: bool) -> None:
        topic, changes = self._topic(is_slow=is_slow), self._changes[is_slow]
        self._say(f"same hop: writing {changes:,} changes of {self._keys:,} keys")
        settings = {"segment.bytes": str(256 * 1024 * 1024)}
        for made in self._admin.create_topics([NewTopic(topic, PARTITIONS, 1, config=settings)]).values():
            made.result()
        writer = Writer(self._bootstrap, wall_ms())
        writer.write(hop_events(topic, changes, self._keys))
        writer.finish()
        self._expected[is_slow] = expected_state(self._clients, topic)

    def _run(self, contender: Contender, command: Sequence[str]) -> Ran:
        name = f"{self._name}-{contender.name.replace('_', '-')}-{secrets.token_hex(2)}"
        changes, topic = self._changes[contender.is_slow], self._topic(is_slow=contender.is_slow)
        with TemporaryDirectory(prefix="driftline-bench-") as folder:
            log = Path(folder) / "log"
            arguments = [self._bootstrap, topic, str(changes), name, str(Path(folder) / "state")]
            (Path(folder) / "state").mkdir()
            with log.open("wb") as errors:
                process = subprocess.Popen(  # noqa: S603 - our own programs
                    [*command, *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env={**os.environ, "PYTHONPATH": str(_PROJECT)},
                )
            limit = Timer(_LIMIT_S, process.kill)
            limit.start()
            try:
                ran = _timed(process, changes, Path(folder) / "state")
            except Unready as fault:
                told = log.read_text(encoding="utf-8", errors="replace")[-2_000:]
                raise Unready(f"{contender.name}: {fault.what}\n{told}", where=" ".join(command)) from None
            finally:
                limit.cancel()
                process.kill()
                process.wait()
        self._check(contender, name)
        return ran

    def _check(self, contender: Contender, name: str) -> None:
        """Raise `Unready` unless the contender's changelog ends with the expected state; then delete its topics."""
        mine = [topic for topic in self._admin.list_topics(timeout=10).topics if name in topic]
        (changelog,) = (topic for topic in mine if "changelog" in topic)
        found, expected = state_of(self._clients, changelog), self._expected[contender.is_slow]
        if found != expected:
            wrong = sum(1 for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
            raise Unready(
                f"{contender.name} ended with another state than it should: {wrong:,} of {len(expected):,} keys",
                where=changelog,
                hint="a contender that skips work does not take part",
            )
        _delete(self._admin, mine)

    def close(self) -> None:
        """Delete every topic of this contest."""
        _delete(self._admin, [topic for topic in self._admin.list_topics(timeout=10).topics if self._name in topic])


def _delete(admin: AdminClient, topics: list[str]) -> None:
    if topics:
        for deleted in admin.delete_topics(topics).values():
            deleted.result()


def _timed(process: subprocess.Popen[bytes], changes: int, state: Path) -> Ran:
    """Return what a contender took between its words."""
    if process.stdout is None or process.stdin is None:
        raise ValueError("a contender speaks through pipes")
    _until(process.stdout, b"started")
    began_s, began_cpu_s = time.monotonic(), cpu_s(process.pid)
    _until(process.stdout, b"done")
    wall_s, used_s = time.monotonic() - began_s, cpu_s(process.pid) - began_cpu_s
    ran = Ran(changes, wall_s, used_s, peak_rss_bytes(process.pid), folder_bytes(state))
    process.stdin.close()
    return ran


def _until(output: IO[bytes], word: bytes) -> None:
    for line in output:
        if line.strip() == word:
            return
    raise Unready(f"it ended before it said {word.decode()!r}")
