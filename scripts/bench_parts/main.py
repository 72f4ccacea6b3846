"""Start Kafka alone, run `driftline bench` on it with the arguments given, and end it."""

import signal
import subprocess
import sys
from types import FrameType
from typing import NoReturn

from stack_parts import commands
from stack_parts.failure import StackError
from stack_parts.layout import stacks_folder
from stack_parts.tools import Module, Tool, ensure_tools

NAME = "bench"
TERMINATED = 143
PEERS_NEED = (
    Tool("javac", ("openjdk-17-jdk-headless",)),
    Tool("mvn", ("maven",)),
    Module("ensurepip", ("python3-venv",)),
)


def main() -> int:
    """Return the exit code of `driftline bench`; 2 if Kafka could not be started."""
    arguments = sys.argv[1:]
    command = [sys.executable, "-m", "app", "bench"]
    if {"-h", "--help"} & set(arguments):
        return subprocess.run([*command, *arguments], check=False).returncode
    try:
        if "--peers" in arguments:
            ensure_tools(stacks_folder() / "tools.lock", PEERS_NEED)
        layout = commands.up(NAME, None, without=[part for part in commands.PARTS if part != "kafka"])
    except StackError as failure:
        print(f"error: {failure}\n{failure.hint}", file=sys.stderr)
        return 2
    try:
        signal.signal(signal.SIGTERM, _leave)
        bootstrap = commands.describe(layout)["kafka"]["bootstrap"]
        return _run([*command, "--bootstrap", bootstrap, *arguments])
    except KeyboardInterrupt:
        return 130
    finally:
        # Its topics are the bench's alone: nothing is worth keeping.
        commands.wipe(NAME)


def _run(command: list[str]) -> int:
    """Return a command's exit code; whatever ends us, let it end what it has started."""
    with subprocess.Popen(command) as running:
        try:
            return running.wait()
        except BaseException:
            running.terminate()
            raise


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    sys.exit(TERMINATED)


if __name__ == "__main__":
    sys.exit(main())
