"""One mutant in a process of its own: the first seed that catches it, and which faults that takes."""

import json
import signal
import sys
from collections.abc import Collection, Iterable
from types import FrameType
from typing import NoReturn

from mutant_parts.broken import break_rule
from mutant_parts.catalogue import MUTANTS

CHANGES = (400, 2_000, 20_000)
"""How large a world is, and how large where no seed of the smaller ones catches the mutant."""
ALONE_CHANGES = 400
ALONE_SEEDS = 2
WORLD_S = 30
"""CPU seconds that a world may take: many times what one takes that ends."""


class _Endless(Exception):
    """A broken rule goes round and round."""


def _give_up(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise _Endless


def main() -> int:
    """Print as JSON what became of the mutant that is named."""
    name, seeds, alone = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "alone"
    signal.signal(signal.SIGVTALRM, _give_up)
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    break_rule(mutant)
    told: dict[str, object] = {"mutant": name, "seed": None, "what": "", "faults": [], "alone": []}
    for changes in CHANGES:
        for seed in range(seeds):
            what = _caught(seed, changes, mutant.among or None)
            if what:
                told |= {"seed": seed, "changes": changes, "what": what, "faults": _needed(seed, changes, mutant.among)}
                break
        if told["what"]:
            break
    if alone:
        told["alone"] = _alone()
    print(json.dumps(told))
    return 0


def _caught(seed: int, changes: int, faults: Iterable[str] | None) -> str:
    """Return what the simulation complains of, empty if it is content."""
    from app.simulation.faults import Fault
    from app.simulation.run import run_seed

    signal.setitimer(signal.ITIMER_VIRTUAL, WORLD_S)
    try:
        score = run_seed(seed, changes, None if faults is None else frozenset(Fault(name) for name in faults))
    except _Endless:
        return "does not end"
    except Exception as error:  # noqa: BLE001 - whatever a broken rule runs into
        return f"raises {type(error).__name__}"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return score.complaints[0].what if score.complaints else ""


def _needed(seed: int, changes: int, among: Collection[str]) -> list[str]:
    """Return faults without one of which the mutant would not have been caught by this seed."""
    from app.simulation.setting import Setting

    faults = sorted(among)
    if not faults:
        faults = sorted(fault.value for fault in Setting.draw(seed, changes).faults)
    size = len(faults)
    while faults and size:
        for start in range(0, len(faults), size):
            fewer = faults[:start] + faults[start + size :]
            if _caught(seed, changes, fewer):
                faults = fewer
                break
        else:
            size //= 2
            continue
        size = min(size, len(faults))
    return faults


def _alone() -> list[str]:
    """Return the faults that catch the mutant where they are the only one, and no fault at all does not."""
    from app.simulation.faults import Fault

    quiet = [seed for seed in range(ALONE_SEEDS) if not _caught(seed, ALONE_CHANGES, ())]
    return [fault.value for fault in Fault if any(_caught(seed, ALONE_CHANGES, (fault.value,)) for seed in quiet)]


if __name__ == "__main__":
    sys.exit(main())
