"""What a person sees while the stack works."""

import threading
import time
from dataclasses import dataclass, field


@dataclass
class Progress:
    """Prints what is done as it is done, with seconds since the start."""

    quiet: bool = False
    started_at_s: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def say(self, name: str, what: str) -> None:
        """One line per event."""
        if not self.quiet:
            with self.lock:
                print(f"{time.monotonic() - self.started_at_s:6.1f} s  {name:<17} {what}", flush=True)
