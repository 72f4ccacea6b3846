"""The command line of `scripts/demo`, once its virtual environment is there."""

from __future__ import annotations

import argparse
import signal
import sys

from arguments import file_to_write, positive, seconds

from demo_parts.damages import damages
from demo_parts.performance import (
    Report,
    check_names,
    choose,
    judge_damages,
    judge_rows,
    perform_damages,
    perform_quiet,
    quiet_cases,
)
from demo_parts.places import Places
from demo_parts.processes import Processes
from demo_parts.quiet import QUIET_CASES
from demo_parts.running import Plan, Running, bring_up, stack
from demo_parts.screen import Screen
from demo_parts.shop import PRODUCTS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Copy a shop from one database to another, damage the copy, and watch how each damage is detected,"
        " repaired and verified.",
    )
    parser.add_argument("--check", action="store_true", help="exit 1 if anything was missed, misnamed, false or slow")
    parser.add_argument("--json", type=file_to_write, metavar="FILE", help="write what happened")
    parser.add_argument("--picture", type=file_to_write, metavar="FILE", help="write the table of damages as SVG")
    parser.add_argument("--keep", action="store_true", help="leave everything running at the end")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="one damage or quiet case; repeatable"
    )
    parser.add_argument("--reversed", action="store_true", help="MariaDB is the authority, PostgreSQL the copy")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--quiet-cases", action="store_true", help="only what must raise nothing")
    what.add_argument("--all", action="store_true", help="the damages, then what must raise nothing")
    parser.add_argument("--stop", action="store_true", help="end what --keep left running, and end")
    parser.add_argument("--list", action="store_true", help="print the names of all cases and end")
    parser.add_argument("--name", help="the stack to use [demo, or demo-reversed]")
    parser.add_argument("--base-port", type=int, help="the first of its ports")
    parser.add_argument("--window", type=seconds, metavar="SECONDS", help="another window than the contracts' 10 s")
    parser.add_argument(
        "--rate", type=positive, default=50.0, help="changes per second of the shop's load [%(default)s]"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the load [%(default)s]")
    return parser


def main() -> int:
    """Exit code 0: done, and all well if --check; 1: --check found faults; 2: could not run; 130: interrupted."""
    parser = _parser()
    arguments = parser.parse_args()
    try:
        check_names(arguments.only, is_reversed=arguments.reversed)
    except LookupError as unknown:
        parser.error(str(unknown))
    if arguments.list:
        print("\n".join([*(d.name for d in damages(PRODUCTS)), *(q.name for q in QUIET_CASES)]))
        return 0
    # Asked to end is interrupted: what was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    screen = Screen()
    plan = Plan(
        stack=arguments.name or ("demo-reversed" if arguments.reversed else "demo"),
        base_port=arguments.base_port,
        reversed=arguments.reversed,
        window_s=arguments.window,
        load_per_second=arguments.rate,
        seed=arguments.seed,
    )
    try:
        if arguments.stop:
            Processes(Places.of(plan.stack).folder).end_leftovers()
            stack(plan, "down")
            return 0
        report = _perform(plan, arguments, screen)
    except KeyboardInterrupt:
        screen.still()
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:  # noqa: BLE001 - the demo's last word is a sentence, not a trace
        screen.still()
        print(f"the demo could not run: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 1 if report.faults and arguments.check else 0


def _perform(plan: Plan, arguments: argparse.Namespace, screen: Screen) -> Report:
    running = None
    try:
        running = bring_up(plan, screen.say)
        report = _cases(running, arguments, screen)
        _tell(running, report, arguments, screen)
        if arguments.keep:
            _leave(running, screen)
            running = None
        return report
    finally:
        screen.still()
        if running is not None:
            running.close()
        if not arguments.keep:
            screen.say("stopping the stack (its data stays; scripts/stack wipe removes it)")
            stack(plan, "down")


def _cases(running: Running, arguments: argparse.Namespace, screen: Screen) -> Report:
    report = Report(setup_s=running.setup_s)
    named = [name for name in arguments.only if name not in {q.name for q in QUIET_CASES}]
    quiet_named = [name for name in arguments.only if name not in named]
    campaign = None
    if (named or not quiet_named) and not arguments.quiet_cases:
        chosen = choose(running, named)
        campaign, opinion = perform_damages(running, chosen, screen.show, screen.say)
        screen.still()
        report.cases = campaign.cases
        report.false_alarms = [*opinion.false_alarms, *opinion.refuted]
        report.faults += judge_damages(running, campaign)
        screen.console.print(screen.table(report.cases, len(report.false_alarms)))
    if quiet_named or arguments.quiet_cases or arguments.all:
        for number, case in quiet_cases(quiet_named):
            screen.say(f"to raise nothing: {case.name.replace('_', ' ')}")
            result = perform_quiet(running, case, number)
            report.quiet.append(result)
            report.faults += result.faults()
        screen.console.print(screen.quiet_table(report.quiet))
    running.load.stop()
    try:
        running.await_proven(90)
    except TimeoutError as error:
        report.faults.append(f"at the end: {error}")
    report.faults += judge_rows(running, campaign)
    return report


def _tell(running: Running, report: Report, arguments: argparse.Namespace, screen: Screen) -> None:
    for alarm in report.false_alarms:
        report.faults.append(f"false alarm: {alarm.entity} {alarm.key} {alarm.kind} {alarm.finding_id.hex()}")
    for fault in report.faults:
        screen.say(f"FAULT  {fault}")
    planted = len(report.cases)
    found = sum(case.detected_after_s is not None for case in report.cases)
    verified = sum(case.verified_after_s is not None for case in report.cases)
    refused = sum(bool(case.refusal) for case in report.cases)
    screen.say(
        f"{found} of {planted} damages detected, {verified} repaired and verified, {refused} refused with a reason,"
        f" {len(report.false_alarms)} false alarms, {len(report.faults)} faults;"
        f" {running.load.written} changes of the shop's own"
    )
    if arguments.json:
        report.write(arguments.json)
    if arguments.picture and report.cases:
        screen.draw(report.cases, len(report.false_alarms), arguments.picture)


def _leave(running: Running, screen: Screen) -> None:
    """Leave everything running and say where to look."""
    places = running.places
    running.load.stop()
    running.topics.stop()
    running.processes.leave()
    screen.say("left running:")
    for name, where in {
        "ask Driftline": f"driftline --config {running.deployment.settings} status",
        "worker": f"http://127.0.0.1:{places.base_port + 8}/metrics",
        "applier": f"http://127.0.0.1:{places.base_port + 9}/metrics",
        "Kafka": places.bootstrap,
        "registry": places.registry,
        "Connect": f"{places.feed} (Driftline's own), {places.pipeline} (the pipeline)",
        "logs": str(running.processes.logs),
        "stop all": f"scripts/demo --name {places.name} --stop",
    }.items():
        screen.console.print(f"          {name:<14} {where}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
