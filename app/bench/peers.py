"""Make the peers that are not of this environment: Quix Streams in one of its own, Kafka Streams by Maven.

Both are made once, from pinned versions, in the user's cache.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from app.core.errors import Unready

_CONTENDERS: Final = Path(__file__).parent / "contenders"
_HEAP: Final = "-Xmx1g"


def quix_command() -> Sequence[str]:
    """Return what starts Quix Streams."""
    pins = _CONTENDERS / "quix_streams.txt"

    def make(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--requirement", str(pins)])

    folder = _made("quix-streams", [pins], make)
    return [str(folder / "bin" / "python"), "-m", "app.bench.contenders.quix_streams"]


def java_command() -> Sequence[str]:
    """Return what starts Kafka Streams."""
    project = _CONTENDERS / "kafka_streams"
    sources = [file for file in sorted(project.rglob("*")) if file.suffix in {".xml", ".java"}]

    def make(folder: Path) -> None:
        _run(["mvn", "-q", "-B", "-f", str(project / "pom.xml"), "package", f"-Dbuild.folder={folder}"])

    folder = _made("kafka-streams", sources, make)
    return ["java", _HEAP, "-cp", f"{folder}/run/*", "driftline.bench.KafkaStreamsPeer"]


def _made(name: str, sources: Iterable[Path], make: Callable[[Path], None]) -> Path:
    """Return the folder that `make` fills, made anew when a source has changed; a half-made one is never used."""
    taste = hashlib.sha256(sys.version.encode())
    for source in sources:
        taste.update(source.read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftline-bench"
    folder = cache / f"{name}-{taste.hexdigest()[:12]}"
    finished = folder / "finished"
    if not finished.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make(folder)
        finished.touch()
    return folder


def _run(command: Sequence[str]) -> None:
    if shutil.which(command[0]) is None:
        raise Unready(f"{command[0]} is not there", hint="the peers need a JDK 17 and Maven: apt-get install maven")
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tempfile.gettempdir())  # noqa: S603
    if done.returncode:
        told = (done.stderr or done.stdout)[-1_500:]
        raise Unready(f"a peer could not be made:\n{told}", where=" ".join(command[:5]))
