"""An applier that dies by kill -9 as soon as it has passed a step: `python -m tests.integration.dying_applier`."""

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
    """Be the applier of the settings that the first argument names, up to the step that the second does."""

    def die(passed: str) -> None:
        if passed == sys.argv[2]:
            os.kill(os.getpid(), signal.SIGKILL)

    loop = compose(load_settings(Path(sys.argv[1])), Metrics(), threading.Event(), die)
    loop.words.start()
    loop.run()


if __name__ == "__main__":
    main()
