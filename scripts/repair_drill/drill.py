"""`scripts/drill repairs`: an applier that is killed at every step, beside an application that goes on writing.

Rows of a table are damaged, and the commands that repair them are sent in waves. In each wave the applier dies once: at
each step of its protocol in turn, then at random, between its steps and within them. The application writes some of the
very rows under repair, in the target or in the authority, between each pair of steps; the target's server is killed
now and then in the middle of a transaction. Then the judge (`repair_judge`) compares every row, ledger row and outcome
with what the drill wrote down. In the end all is undone, and the target must be what it was.

No connectors run, and no worker: `verified` is theirs to say, and `scripts/drill crash` shows it. Commands are signed
with the planner's key by the drill itself, for drifts that it made and nobody had to find.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from arguments import count, some

from repair_drill.deployment import DIRECTIONS, Deployment
from repair_drill.servers import Servers
from repair_drill.store_drill import Say, Size, StoreDrill

FULL: Final = Size(20_000, 1_000, 100, 5)
QUICK: Final = Size(1_200, 110, 4, 1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this drill."""
    parser.add_argument("--quick", dest="size", action="store_const", const=QUICK, default=FULL, help="five minutes")
    parser.add_argument("--repairs", type=some, help=f"in each store [{FULL.repairs}]")
    parser.add_argument("--writes", type=count, help=f"rows that the application writes, in each store [{FULL.writes}]")
    parser.add_argument(
        "--random-deaths", type=count, help=f"beside one at each step, in each store [{FULL.random_deaths}]"
    )
    parser.add_argument("--server-deaths", type=count, help=f"of each store's server [{FULL.server_deaths}]")
    parser.add_argument(
        "--store", choices=[*DIRECTIONS, "both"], default="both", help="which is repaired [%(default)s]"
    )
    parser.add_argument("--name", default="drill-repairs", help="the stack to use, which is wiped [%(default)s]")
    parser.add_argument("--base-port", type=int, help="the first of its ports")
    parser.add_argument("--keep", action="store_true", help="leave servers and folder, whatever the result")


def size_of(arguments: argparse.Namespace) -> Size:
    """Return what was asked for."""
    names = ("repairs", "writes", "random_deaths", "server_deaths")
    told = {name: getattr(arguments, name) for name in names}
    size: Size = arguments.size
    return replace(size, **{name: value for name, value in told.items() if value is not None})


def repairs(arguments: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Run the drill and return its result; `faults` is empty if all went well."""
    folder = Path(tempfile.mkdtemp(prefix="driftline-repairs-"))
    servers = Servers(arguments.name, arguments.base_port)
    result: dict[str, Any] = {"faults": ["it was interrupted"]}
    begun = time.monotonic()
    try:
        say(f"folder {folder}")
        # What an earlier drill left is another deployment's.
        servers.wipe()
        deployment = Deployment(folder, servers.start(), f"repairs{arguments.seed}")
        stores = [name for name in DIRECTIONS if arguments.store in {name, "both"}]
        drills = [
            StoreDrill(deployment, servers, DIRECTIONS[name], size_of(arguments), arguments.seed, say)
            for name in stores
        ]
        deployment.make_tables()
        for drill in drills:
            drill.damage()
        deployment.tell_stories()
        deployment.write_files()
        deployment.init()
        told = {store: drill.run() for store, drill in zip(stores, drills, strict=True)}
        faults = [f"{store}: {fault}" for store, each in told.items() for fault in each["faults"]]
        result = {
            "seed": arguments.seed,
            "seconds": round(time.monotonic() - begun, 1),
            "stores": told,
            "faults": faults,
        }
    finally:
        if result["faults"] or arguments.keep:
            say(f"kept: {folder} (the applier's log in it); the databases: scripts/stack up --name {servers.stack}")
            servers.stop()
        else:
            servers.wipe()
            shutil.rmtree(folder)
    return result


def last_line(result: dict[str, Any]) -> str:
    """Return what the drill says last."""
    told = []
    for store, each in result["stores"].items():
        ends = ", ".join(f"{count} {outcome}" for outcome, count in each["outcomes"].items())
        told.append(
            f"{store}: {each['repairs']} repairs ({ends}) by an applier killed {each['deaths']} times,"
            f" {each['application_writes']} writes of the application between its steps, the server killed"
            f" {each['server_deaths']} times; {each['undone'].get('applied', 0)} undone"
        )
    return f"{'; '.join(told)}; seed {result['seed']}"
