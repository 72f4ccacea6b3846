"""The command line of `scripts/stack`."""

import argparse
import json
import sys
from pathlib import Path

from stack_parts import commands, connectors
from stack_parts.failure import StackError
from stack_parts.layout import DEFAULT_BASE_PORT, DEFAULT_NAME
from stack_parts.progress import Progress


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/stack",
        description="Kafka, two Connect workers, a schema registry, PostgreSQL and MariaDB as local processes.",
    )
    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("--name", default=DEFAULT_NAME, help="which stack (default: %(default)s)")
    named.add_argument("--quiet", action="store_true", help="say nothing but errors")
    actions = parser.add_subparsers(dest="action", required=True)

    up = actions.add_parser("up", parents=[named], help="start what does not run yet; wait until all is ready")
    up.add_argument(
        "--base-port",
        type=int,
        help=f"first of the stack's ports (default: as before; at first {DEFAULT_BASE_PORT}, or the next free block)",
    )
    up.add_argument("--without", action="append", default=[], choices=commands.PARTS, help="leave out a part")
    up.add_argument("--only", action="append", choices=commands.ALL_PARTS, help="start this part and no other")
    up.add_argument(
        "--with",
        dest="more",
        action="append",
        default=[],
        choices=commands.MORE_PARTS,
        help="start this part too: a server of MongoDB's protocol",
    )
    up.add_argument(
        "--mariadb-faketime-file",
        type=Path,
        metavar="PATH",
        help="MariaDB takes its clock's shift (+90s) from this file",
    )
    actions.add_parser("down", parents=[named], help="end every process of the stack")
    status = actions.add_parser("status", parents=[named], help="addresses and what runs; exit 1 unless all of it")
    status.add_argument("-o", "--output", choices=("table", "json"), default="table")
    status.add_argument("--json", dest="output", action="store_const", const="json", help="the same as -o json")
    logs = actions.add_parser("logs", parents=[named], help="the ends of the parts' logs")
    logs.add_argument("parts", nargs="*", metavar="PART", help=", ".join(commands.ALL_PARTS))
    logs.add_argument("-n", "--lines", type=int, default=20)
    logs.add_argument("-f", "--follow", action="store_true")
    connectors_ = actions.add_parser("connectors", help="apply connectors/*.json, steer them, look at them")
    verbs = connectors_.add_subparsers(dest="verb", required=True)
    apply = verbs.add_parser("apply", parents=[named], help="create or change connectors; wait for their marker rows")
    apply.add_argument("connectors", nargs="*", metavar="NAME", help=f"default: {' '.join(connectors.FEED)}")
    apply.add_argument("--no-wait", action="store_true", help="do not wait for the marker rows")
    for verb in ("pause", "resume", "stop", "restart", "status", "offsets", "delete"):
        named_connector = verbs.add_parser(verb, parents=[named])
        named_connector.add_argument("connectors", nargs="+" if verb != "status" else "*", metavar="NAME")
    actions.add_parser("compose-files", help="write what docker-compose.yml mounts, into .stack/compose")
    actions.add_parser("wipe", parents=[named], help="end the stack and delete its data")
    return parser


def _status(name: str, output: str) -> int:
    told = commands.status(name)
    parts = told["parts"]
    if output == "json":
        print(json.dumps(told, indent=1))
    else:
        for part, state in parts.items():
            print(f"{part:<17} {state['state']:<8} {state['pid'] or '-'}")
        print(f"kafka             {told['kafka']['bootstrap']}")
        print(f"connect           {told['connect']['feed']} (feed), {told['connect']['pipeline']} (pipeline)")
        print(f"registry          {told['registry']['url']}")
        print(f"postgres          {told['postgres']['host']}:{told['postgres']['port']}/{told['postgres']['database']}")
        print(f"mariadb           {told['mariadb']['host']}:{told['mariadb']['port']}/{told['mariadb']['database']}")
        if "mongodb" in parts:
            mongodb = told["mongodb"]
            print(f"mongodb           {mongodb['host']}:{mongodb['port']}/{mongodb['database']}")
        print(f"passwords         {told['secrets']}/{{postgres,mariadb,mongodb}}/ROLE")
    return 0 if all(state["state"] == "running" for state in parts.values()) else 1


def _connectors(arguments: argparse.Namespace) -> None:
    layout = commands.existing(arguments.name)
    if arguments.verb == "apply":
        connectors.apply(layout, arguments.connectors, Progress(arguments.quiet), wait=not arguments.no_wait)
        return
    if arguments.verb == "status" and not arguments.connectors:
        for worker in ("feed", "pipeline"):
            rest = connectors.rest(layout, worker)
            for name in rest.ask("GET", "/connectors"):
                print(f"{worker:<9} {name:<30} {' '.join(rest.states(name))}")
        return
    for name in arguments.connectors:
        told = connectors.rest(layout, connectors.load(name).worker).act(name, arguments.verb)
        if arguments.verb in {"status", "offsets"}:
            print(json.dumps(told, indent=1))


def _act(arguments: argparse.Namespace) -> int:
    match arguments.action:
        case "up":
            commands.up(
                arguments.name,
                arguments.base_port,
                without=arguments.without + [p for p in commands.PARTS if p not in (arguments.only or commands.PARTS)],
                more=arguments.more + (arguments.only or []),
                faketime_file=arguments.mariadb_faketime_file,
                quiet=arguments.quiet,
            )
        case "down":
            commands.down(arguments.name, quiet=arguments.quiet)
        case "status":
            return _status(arguments.name, arguments.output)
        case "logs":
            commands.logs(arguments.name, arguments.parts, arguments.lines, follow=arguments.follow)
        case "compose-files":
            print(f"written: {commands.compose_files()}")
        case "connectors":
            _connectors(arguments)
        case "wipe":
            commands.wipe(arguments.name, quiet=arguments.quiet)
    return 0


def main() -> int:
    """Exit code 0: done; 1: `status` found a part missing; 2: could not be done, with the reason; 130: interrupted."""
    arguments = _parser().parse_args()
    try:
        return _act(arguments)
    except StackError as failure:
        print(f"error: {failure}", file=sys.stderr)
        if failure.hint:
            print(f"what to do: {failure.hint}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
