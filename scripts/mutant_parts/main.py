"""Hunt every mutant, write the table into the docs, and fail if one got away."""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arguments import file_to_write, some

from app.simulation.faults import Fault
from app.simulation.run import run_seed
from mutant_parts.catalogue import MUTANTS, Mutant

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs" / "simulation.md"
BEGIN, END = "<!-- mutants: made by scripts/mutants -->", "<!-- end of mutants -->"
SEEDS = 20
COLUMNS, FAULT_COLUMNS = 6, 2


def main() -> int:
    """Return 0 if every mutant was caught."""
    parser = argparse.ArgumentParser(prog="scripts/mutants", description=__doc__)
    parser.add_argument("--only", action="append", choices=[mutant.name for mutant in MUTANTS], help="May be repeated.")
    parser.add_argument("--alone", action="store_true", help="See too which faults catch each mutant alone; slow.")
    parser.add_argument("--jobs", type=some, default=1)
    parser.add_argument("--json", type=file_to_write, help="Write everything here as well.")
    parser.add_argument("--write", action="store_true", help="Write what was hunted into docs/simulation.md.")
    chosen = parser.parse_args()
    mutants = [mutant for mutant in MUTANTS if not chosen.only or mutant.name in chosen.only]
    with ThreadPoolExecutor(chosen.jobs) as pool:
        found = []
        for mutant, told in zip(mutants, pool.map(lambda m: hunt(m, alone=chosen.alone), mutants), strict=True):
            found.append(told)
            caught = f"seed {told['seed']}: {told['what']}" if told["seed"] is not None else "NOT CAUGHT"
            print(f"{mutant.rule.value:15} {mutant.name:35} {caught}", flush=True)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n", encoding="ascii")
    if chosen.write:
        write(PAGE, table(found, shown(PAGE)))
    return 1 if any(told["seed"] is None for told in found) else 0


def hunt(mutant: Mutant, *, alone: bool = False, seeds: int = SEEDS) -> dict[str, Any]:
    """Return what became of a mutant, from a process of its own."""
    command = [sys.executable, "-B", "-m", "mutant_parts.hunt", mutant.name, str(seeds), "alone" if alone else "drawn"]
    paths = f"{PROJECT}:{PROJECT / 'scripts'}"
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONPATH": paths})
    if done.returncode:
        raise RuntimeError(f"{mutant.name}: {done.stderr[-2_000:]}")
    told: dict[str, Any] = json.loads(done.stdout)
    if told["seed"] is not None and not _is_right(mutant, told["seed"], told["changes"]):
        return told | {"seed": None, "what": "", "faults": []}
    return told


def _is_right(mutant: Mutant, seed: int, changes: int) -> bool:
    """Whether the rules that are not broken are right in that world: else nobody knows what was caught."""
    faults = frozenset(Fault(name) for name in mutant.among) or None
    return run_seed(seed, changes, faults).is_right


@dataclass(frozen=True)
class Shown:
    """The tables of a page: each mutant's row by its name, and by fault the mutants that it catches."""

    rows: dict[str, str]
    catches: dict[str, set[str]]


def shown(page: Path) -> Shown:
    """Return what the page says of mutants that there are still."""
    names = {mutant.name for mutant in MUTANTS}
    held = Shown({}, {})
    for line in page.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == COLUMNS and (name := cells[1].partition(":")[0]) in names:
            held.rows[name] = line
        elif len(cells) == FAULT_COLUMNS and names & set(cells[1].split(", ")):
            held.catches[cells[0]] = names & set(cells[1].split(", "))
    return held


def table(found: Sequence[Mapping[str, Any]], held: Shown) -> str:
    """Return the table of mutants, and of faults by what they catch; who was not hunted stays as `held` has it."""
    rows, rules = dict(held.rows), {mutant.name: mutant for mutant in MUTANTS}
    hunted = {told["mutant"] for told in found}
    catches = {fault: names - hunted for fault, names in held.catches.items()}
    for told in found:
        mutant = rules[told["mutant"]]
        for fault in (*told["faults"], *told["alone"]):
            catches.setdefault(fault, set()).add(mutant.name)
        seed = "-" if told["seed"] is None else f"{told['seed']} of {told['changes']}"
        cells = (
            mutant.rule.value,
            f"{mutant.name}: {mutant.says}",
            ", ".join(mutant.among) or "any",
            seed,
            told["what"],
            ", ".join(told["faults"]) or "-",
        )
        rows[mutant.name] = f"| {' | '.join(cells)} |"
    lines = ["| rule | broken so that | in worlds with | caught by seed | as | needs |", "|---|---|---|--:|---|---|"]
    lines += [rows[mutant.name] for mutant in MUTANTS if mutant.name in rows]
    lines += ["", "| fault | catches |", "|---|---|"]
    lines += [
        f"| {fault} | {', '.join(sorted(catches.get(fault, ()))) or '-'} |" for fault in sorted(f.value for f in Fault)
    ]
    return "\n".join(lines)


def write(page: Path, text: str) -> None:
    """Put the table between its marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
