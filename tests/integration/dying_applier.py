"""An applier that ends, sleeps or waits behind a step: `python -m tests.integration.dying_applier`."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from app.adapters.metrics import Metrics
from app.cli.applier import compose
from app.settings import load_settings


def main() -> None:
    """Be the applier of the settings that the first argument names, up to the step that the second does.

    There it is sent the signal that the third names, `SIGKILL`, or `SIGSTOP` for one that falls asleep. Or it waits
    until there is a file of that path, while the clients that it has go on reading.
    """
    file, step, sent = sys.argv[1:]
    awaited = None if sent in signal.Signals.__members__ else Path(sent)

    def end(passed: str) -> None:
        if passed != step:
            return
        if awaited is None:
            os.kill(os.getpid(), signal.Signals[sent])
        while awaited is not None and not awaited.exists():
            time.sleep(0.02)

    loop = compose(load_settings(Path(file)), Metrics(), threading.Event(), end)
    loop.words.start()
    loop.run()


if __name__ == "__main__":
    main()
