"""The local stack's own care: processes recognised for certain, ports and names checked, files private and whole."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from stack_parts import commands, kafka_wire, launch, tools
from stack_parts.failure import StackError
from stack_parts.kafka_wire import NewTopic
from stack_parts.layout import DEFAULT_BASE_PORT, Layout, Ports, stack_folder
from stack_parts.part import Part, bring_up, record_of, take_down
from stack_parts.process import Process, locked, recorded, running, start
from stack_parts.secret_files import passwords, write_private

# Servers outlive who started them: that is what the stack is for.
pytestmark = pytest.mark.filterwarnings(r"ignore:subprocess \d+ is still running:ResourceWarning")


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A stack in a folder of its own."""
    monkeypatch.setattr("stack_parts.layout.PROJECT", tmp_path)
    made = Layout("test", Ports(20001))
    for folder in (made.records, made.logs):
        folder.mkdir(parents=True)
    return made


@pytest.fixture
def lock(layout: Layout) -> Iterator[int]:
    """The stack's lock, held."""
    with locked(layout.folder / "lock") as handle:
        yield handle


def sleeper(*more: str) -> Part:
    """A part that does nothing until it is ended."""
    program = "import signal, sys; signal.sigwait([signal.SIGTERM])"
    return Part("sleeper", (), (sys.executable, "-c", program, *more), Path("/"), lambda: None)


def test_a_part_is_started_once_and_ended_by_its_record(layout: Layout, lock: int) -> None:
    """A second start finds the first; an end leaves neither process nor record."""
    assert bring_up(layout, sleeper(), lock) == "ready"
    first = _awaited(layout)
    assert bring_up(layout, sleeper(), lock) == "was running"
    assert running(record_of(layout, "sleeper")) == first
    assert take_down(layout, "sleeper", signal.SIGTERM, 5.0) == "stopped"
    assert not first.is_alive()
    assert take_down(layout, "sleeper", signal.SIGTERM, 5.0) is None


def test_a_part_whose_settings_changed_is_restarted(layout: Layout, lock: int) -> None:
    """Another command line means another server."""
    bring_up(layout, sleeper(), lock)
    first = _awaited(layout)
    assert bring_up(layout, sleeper("changed"), lock) == "restarted, since its settings changed"
    assert not first.is_alive()
    _awaited(layout)
    take_down(layout, "sleeper", signal.SIGTERM, 5.0)


def test_a_killed_part_is_started_again(layout: Layout, lock: int) -> None:
    """A record of a dead process does not count."""
    bring_up(layout, sleeper(), lock)
    first = _awaited(layout)
    os.kill(first.pid, signal.SIGKILL)
    _until_dead(first)
    assert bring_up(layout, sleeper(), lock) == "ready"
    assert _awaited(layout) != first
    take_down(layout, "sleeper", signal.SIGTERM, 5.0)


def test_a_stranger_with_a_recorded_pid_is_never_ended(layout: Layout) -> None:
    """A pid that was given away again names another process: its start time tells."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        ticks = launch.start_ticks(stranger.pid)
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        for wrong in (Process(stranger.pid, ticks - 1, boot), Process(stranger.pid, ticks, "another boot")):
            fields = {"pid": wrong.pid, "start_ticks": wrong.start_ticks, "boot": wrong.boot}
            record_of(layout, "part").write_text(json.dumps(fields), encoding="ascii")
            assert take_down(layout, "part", signal.SIGKILL, 0.1) is None
            assert not wrong.end(signal.SIGKILL, 0.1)
            assert stranger.poll() is None
        stranger.kill()


def test_a_stubborn_part_is_killed(layout: Layout, lock: int) -> None:
    """What ignores the polite signal gets the other one, and the caller is told."""
    program = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
    log = layout.logs / "sleeper.log"

    def lacks() -> str | None:
        return None if log.exists() and "deaf" in log.read_text(encoding="ascii") else "not deaf yet"

    bring_up(layout, Part("sleeper", (), (sys.executable, "-c", program), Path("/"), lacks), lock)
    assert take_down(layout, "sleeper", signal.SIGTERM, 0.2) == "killed"


def test_a_part_that_ends_at_once_is_told_with_its_last_words(layout: Layout, lock: int) -> None:
    """The error carries the end of the log, and where the rest is."""
    dying = Part("dying", (), (sys.executable, "-c", "raise SystemExit('no disk left')"), Path("/"), lambda: "dead")
    with pytest.raises(StackError, match="no disk left") as failure:
        bring_up(layout, dying, lock)
    assert str(layout.logs / "dying.log") in failure.value.hint


def test_a_part_that_never_gets_ready_is_told_with_what_it_lacks(layout: Layout, lock: int) -> None:
    """A deadline ends the wait; the process stays, for a look at it."""
    slow = Part("sleeper", (), sleeper().command, Path("/"), lambda: "no broker", deadline_s=0.3)
    with pytest.raises(StackError, match="no broker"):
        bring_up(layout, slow, lock)
    _awaited(layout)
    take_down(layout, "sleeper", signal.SIGTERM, 5.0)


def test_a_taken_port_is_told_before_anything_is_started(layout: Layout, lock: int) -> None:
    """The error names the port and how to see who holds it; no process and no record is left."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        part = Part("sleeper", (port,), sleeper().command, Path("/"), lambda: None)
        with pytest.raises(StackError, match=f"needs port {port}") as failure:
            bring_up(layout, part, lock)
    assert "ss -ltnp" in failure.value.hint
    assert recorded(record_of(layout, "sleeper")) is None


def test_the_lock_is_held_until_a_starting_process_has_its_record(layout: Layout) -> None:
    """Who gets the lock after a start was cut short finds the record: no server can run unknown."""
    record = record_of(layout, "sleeper")
    with locked(layout.folder / "lock") as handle:
        child = start(record, handle, sleeper().command, log=layout.logs / "x.log", folder=Path("/"))
    with locked(layout.folder / "lock"):
        process = running(record)
        assert process is not None
        assert process.pid == child.pid
    take_down(layout, "sleeper", signal.SIGTERM, 5.0)
    child.wait()


def test_a_lock_that_stays_taken_is_an_error_and_not_a_hang(layout: Layout) -> None:
    """The second command gives up after its patience and says why."""
    with (
        locked(layout.folder / "lock"),
        pytest.raises(StackError, match="another command has held"),
        locked(layout.folder / "lock", wait_s=0.1),
    ):
        pass


@pytest.mark.parametrize("name", ["", "..", "a/b", "cache", "A", "-x", "x" * 40])
def test_a_name_that_could_leave_its_folder_is_refused(name: str) -> None:
    """A stack's name is a folder's name and is wiped as one."""
    with pytest.raises(StackError):
        stack_folder(name)


@pytest.mark.parametrize("base", [0, 80, 65530, 70000])
def test_a_base_port_out_of_range_is_refused(base: int) -> None:
    """All ports of a stack must exist and need no privilege."""
    with pytest.raises(StackError):
        Ports(base)


def test_stacks_side_by_side_get_ports_apart(layout: Layout) -> None:
    """Another name never gets the demo's block, nor one that a stack already has, running or not."""
    for name in ("one", "two"):
        other = commands.chosen(name, None)
        other.folder.mkdir(parents=True)
        (other.folder / "stack.json").write_text(json.dumps({"base_port": other.ports.base}), encoding="ascii")
    bases = [commands.chosen(name, None).ports.base for name in ("demo", "one", "two", layout.name)]
    assert bases[0] == DEFAULT_BASE_PORT
    assert all(abs(a - b) >= 8 for i, a in enumerate(bases) for b in bases[i + 1 :])


def test_secrets_are_private_and_made_once(tmp_path: Path) -> None:
    """Mode 600 in folders of mode 700, the same again the next time, different for each role."""
    first = passwords(tmp_path / "secrets", "postgres")
    assert passwords(tmp_path / "secrets", "postgres") == first
    assert len(set(first.values())) == len(first)
    for file in (tmp_path / "secrets").rglob("*"):
        assert file.stat().st_mode & 0o077 == 0
    write_private(tmp_path / "file", "x")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


class Broker:
    """A socket that answers one request with given bytes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = struct.pack(">ii", len(answer) + 4, 1) + answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self.asked = b""
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            self.asked = connection.recv(4096)
            connection.sendall(self._answer)


def text(value: str) -> bytes:
    """A string as Kafka writes it."""
    return struct.pack(">h", len(value)) + value.encode()


def test_an_existing_topic_is_left_alone_and_a_new_one_is_told() -> None:
    """Making topics twice is no error."""
    answer = struct.pack(">ii", 0, 2)
    answer += text("new") + struct.pack(">h", 0) + struct.pack(">h", -1)
    answer += text("old") + struct.pack(">h", 36) + text("Topic 'old' already exists.")
    with Broker(answer) as broker:
        assert kafka_wire.create_topics(broker.address, [NewTopic("new", 3), NewTopic("old", 1)]) == ["new"]
    assert text("new") + struct.pack(">ihi", 3, 1, 0) in broker.asked


def test_a_refused_topic_is_told_in_kafkas_words() -> None:
    """A wrong name or setting must not pass for made."""
    answer = struct.pack(">ii", 0, 1) + text("a b") + struct.pack(">h", 17) + text("Topic name is invalid")
    with Broker(answer) as broker, pytest.raises(StackError, match="Topic name is invalid"):
        kafka_wire.create_topics(broker.address, [NewTopic("a b", 1)])


def test_a_broker_without_registration_is_not_ready() -> None:
    """An answer that lists no broker is a controller still electing."""
    with Broker(struct.pack(">iii", 0, -1, 0)) as broker, pytest.raises(ConnectionError):
        kafka_wire.topics(broker.address)


def test_an_answer_cut_short_is_an_error() -> None:
    """Never an index out of range, whatever a port that is not Kafka answers."""
    with Broker(struct.pack(">i", 0) + b"\x00") as broker, pytest.raises((StackError, struct.error)):
        kafka_wire.create_topics(broker.address, [NewTopic("new", 3)])


def _awaited(layout: Layout) -> Process:
    """The recorded process, once its launcher has become the server."""
    for _ in range(500):
        process = running(record_of(layout, "sleeper"))
        if process is not None and b"sigwait" in Path(f"/proc/{process.pid}/cmdline").read_bytes():
            return process
        threading.Event().wait(0.01)
    raise AssertionError("the launcher wrote no record")


def _until_dead(process: Process) -> None:
    for _ in range(500):
        if not process.is_alive():
            return
        threading.Event().wait(0.01)
    raise AssertionError("the process does not die")


def test_nothing_is_asked_for_that_no_wanted_part_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka alone needs a JVM and Maven; a person who may not install is told these and no database."""
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    monkeypatch.setattr("os.geteuid", lambda: 1_000)
    with pytest.raises(StackError) as refused:
        tools.ensure_tools(tmp_path / "lock", tools.tools_of(["kafka"]))
    assert "java, mvn" in str(refused.value)
    assert "mariadb" not in f"{refused.value} {refused.value.hint}"
    assert set(tools.TOOLS) == set(commands.ALL_PARTS)
