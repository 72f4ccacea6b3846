"""Hunt every mutant, write the table into the docs, and fail if one got away."""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mutant_parts.catalogue import MUTANTS, Mutant

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs" / "simulation.md"
BEGIN, END = "<!-- mutants: made by scripts/mutants -->", "<!-- end of mutants -->"
SEEDS = 20


def main() -> int:
    """Return 0 if every mutant was caught."""
    parser = argparse.ArgumentParser(prog="scripts/mutants", description=__doc__)
    parser.add_argument("--only", action="append", choices=[mutant.name for mutant in MUTANTS], help="May be repeated.")
    parser.add_argument("--alone", action="store_true", help="See too which faults catch each mutant alone; slow.")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=Path, help="Write everything here as well.")
    parser.add_argument("--write", action="store_true", help="Write the table into docs/simulation.md.")
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
        write(PAGE, table(found))
    return 1 if any(told["seed"] is None for told in found) else 0


def hunt(mutant: Mutant, *, alone: bool = False, seeds: int = SEEDS) -> dict[str, Any]:
    """Return what became of a mutant, from a process of its own."""
    command = [sys.executable, "-B", "-m", "mutant_parts.hunt", mutant.name, str(seeds), "alone" if alone else "drawn"]
    paths = f"{PROJECT}:{PROJECT / 'scripts'}"
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONPATH": paths})
    if done.returncode:
        raise RuntimeError(f"{mutant.name}: {done.stderr[-2_000:]}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of mutants, and of faults by what they catch."""
    rules = {mutant.name: mutant for mutant in MUTANTS}
    lines = ["| rule | broken so that | caught by seed | as | needs |", "|---|---|--:|---|---|"]
    catches: dict[str, set[str]] = {}
    for told in found:
        mutant = rules[told["mutant"]]
        needs = ", ".join(told["faults"]) or "-"
        for fault in (*told["faults"], *told["alone"]):
            catches.setdefault(fault, set()).add(mutant.name)
        seed = "-" if told["seed"] is None else told["seed"]
        lines.append(f"| {mutant.rule.value} | {mutant.name}: {mutant.says} | {seed} | {told['what']} | {needs} |")
    lines += ["", "| fault | catches |", "|---|---|"]
    lines += [f"| {fault} | {', '.join(sorted(names))} |" for fault, names in sorted(catches.items())]
    return "\n".join(lines)


def write(page: Path, text: str) -> None:
    """Put the table between its marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
