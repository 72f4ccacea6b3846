"""What the sub-commands do: up, down, status, logs, wipe."""

import concurrent.futures
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stack_parts import compose_files as compose
from stack_parts import jvm_parts, mariadb, mongodb, postgres
from stack_parts.failure import StackError
from stack_parts.jars import ensure_jars, jars_folder
from stack_parts.layout import (
    DEFAULT_BASE_PORT,
    DEFAULT_NAME,
    LOOPBACK,
    PORT_STEP,
    PORTS_PER_STACK,
    Layout,
    Ports,
    stack_folder,
    stacks_folder,
)
from stack_parts.part import Part, bring_up, log_of, running_part, take_down
from stack_parts.process import locked
from stack_parts.progress import Progress
from stack_parts.secret_files import (
    ADMINS,
    DATABASE,
    ROLES,
    Addresses,
    passwords,
    placeholder,
    write_private,
    write_worker_files,
)
from stack_parts.tools import ensure_tools, tools_of

DESCRIPTION = "stack.json"
PARTS = ("kafka", "postgres", "mariadb", "registry", "connect-feed", "connect-pipeline")
# Started on request only.
MORE_PARTS = ("mongodb",)
ALL_PARTS = (*PARTS, *MORE_PARTS)
# What may be left out of a start, and the parts that cannot do without another.
NEEDS = {"connect-feed": ("kafka",), "connect-pipeline": ("kafka",)}
# Writers first, the broker last: whoever still writes needs somewhere to write to.
STOP_ORDER = (("connect-feed", "connect-pipeline", "registry"), ("mariadb", "postgres", "mongodb"), ("kafka",))
STOP_SIGNALS = {"postgres": signal.SIGINT}
PATIENCE_S = 20.0


def describe(layout: Layout) -> dict[str, Any]:
    """Everything another program needs to use the stack: addresses, folders, roles and where their passwords lie."""
    ports = layout.ports

    def roles(database: str) -> dict[str, Any]:
        return {
            role: {"user": role, "password_file": str(layout.secrets / database / role)}
            for role in (ADMINS[database], *ROLES)
        }

    return {
        "name": layout.name,
        "base_port": ports.base,
        "folder": str(layout.folder),
        "logs": str(layout.logs),
        "secrets": str(layout.secrets),
        "placeholder_file": str(layout.secrets / "placeholder"),
        "jars": str(jars_folder()),
        "kafka": {"bootstrap": f"{LOOPBACK}:{ports.kafka}"},
        "connect": {
            "feed": f"http://{LOOPBACK}:{ports.feed}",
            "pipeline": f"http://{LOOPBACK}:{ports.pipeline}",
        },
        "registry": {"url": f"http://{LOOPBACK}:{ports.registry}/apis/ccompat/v7"},
        "postgres": {
            "host": LOOPBACK,
            "port": ports.postgres,
            "database": DATABASE,
            "schema": "public",
            "data_folder": str(layout.databases / "postgres"),
            "roles": roles("postgres"),
        },
        "mariadb": {
            "host": LOOPBACK,
            "port": ports.mariadb,
            "database": DATABASE,
            "socket": str(mariadb.socket_path(layout)),
            "data_folder": str(layout.databases / "mariadb"),
            "roles": roles("mariadb"),
        },
        "mongodb": {
            "host": LOOPBACK,
            "port": ports.mongodb,
            "database": DATABASE,
            "data_folder": str(layout.databases / "mongodb"),
            "roles": roles("mongodb"),
        },
    }


def compose_files() -> Path:
    """Write what docker-compose.yml mounts, and the description that lets the other commands find those containers."""
    layout = compose.layout()
    folder = compose.write(layout)
    _write_description(layout)
    return folder


def _write_description(layout: Layout) -> None:
    description = layout.folder / DESCRIPTION
    write_private(description, json.dumps(describe(layout), indent=1) + "\n")
    description.chmod(0o644)


def existing(name: str) -> Layout:
    """The stack of this name as it was last started; raises when there is none."""
    try:
        told = json.loads((stack_folder(name) / DESCRIPTION).read_text(encoding="ascii"))
    except FileNotFoundError:
        raise StackError(f"there is no stack named {name}", f"scripts/stack up --name {name}") from None
    return Layout(name, Ports(int(told["base_port"])))


def chosen(name: str, base_port: int | None) -> Layout:
    """The stack to start: the ports asked for, else those it had, else the next free block."""
    try:
        layout = existing(name)
    except StackError:
        return Layout(name, Ports(base_port if base_port is not None else _free_base(name)))
    if base_port is None or base_port == layout.ports.base:
        return layout
    if any(running_part(layout, part) for part in ALL_PARTS):
        raise StackError(
            f"stack {name} runs on base port {layout.ports.base}, not {base_port}",
            f"scripts/stack down --name {name}, then start it with the other base",
        )
    return Layout(name, Ports(base_port))


def _free_base(name: str) -> int:
    if name == DEFAULT_NAME:
        return DEFAULT_BASE_PORT
    taken = {
        int(json.loads(told.read_text(encoding="ascii"))["base_port"])
        for told in stacks_folder().glob(f"*/{DESCRIPTION}")
        if told.parent.name != name
    } | {DEFAULT_BASE_PORT}
    for base in range(DEFAULT_BASE_PORT, 32768 - PORT_STEP, PORT_STEP):
        if all(abs(base - other) >= PORTS_PER_STACK for other in taken) and _all_free(base):
            return base
    raise StackError("no free block of ports was found", "name one with --base-port")


def _all_free(base: int) -> bool:
    for port in range(base, base + PORTS_PER_STACK):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                return False
    return True


def _lock_file(name: str) -> Path:
    # Beside the folder, so that wiping the folder cannot give two commands two locks.
    return stacks_folder() / f"{stack_folder(name).name}.lock"


def up(
    name: str,
    base_port: int | None,
    *,
    without: Sequence[str] = (),
    more: Sequence[str] = (),
    faketime_file: Path | None = None,
    quiet: bool = False,
) -> Layout:
    """Start what does not run yet and wait until all of it is ready; any number of times, after any accident."""
    wanted = [part for part in PARTS if part not in without] + [part for part in MORE_PARTS if part in more]
    for part in wanted:
        for need in NEEDS.get(part, ()):
            if need not in wanted:
                raise StackError(f"{part} cannot run without {need}", f"leave out {part} too")
    progress = Progress(quiet)
    if packages := ensure_tools(stacks_folder() / "tools.lock", tools_of(wanted)):
        progress.say("system", f"installed {' '.join(packages)}")
    with locked(_lock_file(name)) as lock:
        # Two stacks that start at the same moment must not choose the same block of ports.
        with locked(stacks_folder() / "ports.lock"):
            layout = chosen(name, base_port)
            _prepare(layout)
        _start(layout, wanted, lock, progress, faketime_file)
    progress.say("stack", f"{name} is up: {layout.folder / DESCRIPTION}")
    return layout


def _prepare(layout: Layout) -> None:
    for folder in (layout.folder, layout.records, layout.logs, layout.settings, layout.kafka_data.parent):
        folder.mkdir(parents=True, exist_ok=True)
    layout.settings.chmod(0o700)
    for shared in {layout.databases, layout.sockets} - {layout.folder / "data"}:
        shared.mkdir(mode=0o755, parents=True, exist_ok=True)
        # A folder under /tmp may have been put there by somebody who waits for our data.
        if shared.is_symlink() or shared.stat().st_uid != os.geteuid():
            raise StackError(f"{shared} belongs to another user", "remove it, or move the project to another folder")
    layout.secrets.mkdir(mode=0o700, exist_ok=True)
    placeholder(layout.secrets)
    for database in ADMINS:
        passwords(layout.secrets, database)
    ports = layout.ports
    write_worker_files(
        layout.secrets,
        Addresses(
            bootstrap=f"{LOOPBACK}:{ports.kafka}",
            registry=f"http://{LOOPBACK}:{ports.registry}",
            postgres_host=LOOPBACK,
            postgres_port=ports.postgres,
            mariadb_host=LOOPBACK,
            mariadb_port=ports.mariadb,
        ),
        more_feed={"mongodb.url": mongodb.feed_url(layout)},
    )
    _write_description(layout)


def _start(layout: Layout, wanted: Sequence[str], lock: int, progress: Progress, faketime_file: Path | None) -> None:
    builders: dict[str, Callable[[], Part]] = {
        "kafka": lambda: jvm_parts.kafka(layout),
        "postgres": lambda: postgres.part(layout),
        "mariadb": lambda: mariadb.part(layout, faketime_file),
        "mongodb": lambda: mongodb.part(layout),
        "registry": lambda: jvm_parts.registry(layout),
        "connect-feed": lambda: jvm_parts.connect(layout, "feed"),
        "connect-pipeline": lambda: jvm_parts.connect(layout, "pipeline"),
    }
    jvm = {part for part in wanted if part not in ADMINS}
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(ALL_PARTS) + 1) as pool:
        fetched = pool.submit(_fetch, progress) if jvm else None
        started: dict[str, concurrent.futures.Future[None]] = {}

        def start(name: str) -> None:
            if name in jvm and fetched is not None:
                fetched.result()
            for need in NEEDS.get(name, ()):
                started[need].result()
            progress.say(name, bring_up(layout, builders[name](), lock))

        for name in wanted:
            started[name] = pool.submit(start, name)
        failures = [(name, failure) for name, future in started.items() if (failure := future.exception())]
    if failures:
        # A part that waited for another fails with the other's failure: told once.
        first = failures[0][1]
        for name, failure in failures:
            progress.say(name, f"FAILED: {str(failure).splitlines()[0]}")
        raise first


def _fetch(progress: Progress) -> None:
    if ensure_jars():
        progress.say("jars", f"fetched into {jars_folder()}")


def down(name: str, *, quiet: bool = False) -> None:
    """End every process of the stack; says so only of those that ran."""
    folder = stack_folder(name)
    if not folder.exists():
        return
    progress = Progress(quiet)
    with locked(_lock_file(name)):
        _stop_all(Layout(name, Ports(DEFAULT_BASE_PORT)), progress)
    progress.say("stack", f"{name} is down")


def _stop_all(layout: Layout, progress: Progress) -> None:
    def stop(part: str) -> None:
        if how := take_down(layout, part, STOP_SIGNALS.get(part, signal.SIGTERM), PATIENCE_S):
            progress.say(part, how)
        if part == "mariadb":
            mariadb.forget_clocks()

    with concurrent.futures.ThreadPoolExecutor(max_workers=len(ALL_PARTS)) as pool:
        for together in STOP_ORDER:
            list(pool.map(stop, together))


def status(name: str) -> dict[str, Any]:
    """The stack's description and the state of each part; of those on request, what was ever started."""
    layout = existing(name)
    parts = {}
    for part in (*PARTS, *(part for part in MORE_PARTS if log_of(layout, part).exists())):
        process = running_part(layout, part)
        parts[part] = {
            "state": "running" if process else "stopped",
            "pid": process.pid if process else None,
            "log": str(log_of(layout, part)),
        }
    return {**describe(layout), "parts": parts}


def logs(name: str, parts: Sequence[str], lines: int, *, follow: bool) -> None:
    """Show the ends of the logs, or go on showing them."""
    layout = existing(name)
    files = [log_of(layout, part) for part in (parts or ALL_PARTS)]
    files = [file for file in files if file.exists()]
    if not files:
        raise StackError(f"{name} has no logs of {', '.join(parts) or 'any part'}", f"parts: {', '.join(ALL_PARTS)}")
    subprocess.run(["tail", "-n", str(lines), *(["-F"] if follow else []), *map(str, files)], check=False)


def wipe(name: str, *, quiet: bool = False) -> None:
    """End the stack and delete its folder, data and secrets; the jars stay."""
    folder = stack_folder(name)
    progress = Progress(quiet)
    layout = Layout(name, Ports(DEFAULT_BASE_PORT))
    with locked(_lock_file(name)):
        if folder.exists():
            _stop_all(layout, progress)
        for place in {layout.sockets, layout.databases, folder} - {folder / "data"}:
            if place == folder or folder not in place.parents:
                shutil.rmtree(place, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(folder)
    progress.say("stack", f"{name} is wiped")
