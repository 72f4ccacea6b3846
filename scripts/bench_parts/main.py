"""Start Kafka alone, run `driftline bench` on it with the arguments given, and end it."""

import subprocess
import sys

from stack_parts import commands
from stack_parts.failure import StackError
from stack_parts.layout import stacks_folder
from stack_parts.tools import Module, Tool, ensure_tools

NAME = "bench"
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
        bootstrap = commands.describe(layout)["kafka"]["bootstrap"]
        return subprocess.run([*command, "--bootstrap", bootstrap, *arguments], check=False).returncode
    except KeyboardInterrupt:
        return 130
    finally:
        # Its topics are the bench's alone: nothing is worth keeping.
        commands.wipe(NAME)


if __name__ == "__main__":
    sys.exit(main())
