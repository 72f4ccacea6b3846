"""An applier that is sent a signal as soon as it has passed a step: `python -m tests.integration.dying_applier`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from app.adapters.metrics import Metrics
from app.cli.applier import compose
from app.settings import load_settings


def main() -> None:
    """Be the applier of the settings that the first argument names, up to the step that the second does.

    There it is sent the signal that the third names: `SIGKILL`, or `SIGSTOP` for one that falls asleep.
    """
    file, step, sent = sys.argv[1:]

    def end(passed: str) -> None:
        if passed == step:
            os.kill(os.getpid(), signal.Signals[sent])

    loop = compose(load_settings(Path(file)), Metrics(), threading.Event(), end)
    loop.words.start()
    loop.run()


if __name__ == "__main__":
    main()
