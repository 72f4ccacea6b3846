"""A server of MongoDB's protocol from the project's own environment: no registry that we use has MongoDB's own.

It is SecantusDB, which stores in WiredTiger and has what change capture and transactions need of a replica set of one.
Its clients are of that environment too, so that what is asked of it goes through a small script there.
"""

import json
import socket
from pathlib import Path

from stack_parts.database_part import filled, make_once, provision_once, run
from stack_parts.failure import StackError
from stack_parts.layout import LOOPBACK, PROJECT, Layout
from stack_parts.part import Part
from stack_parts.secret_files import DATABASE, MONGODB_ADMIN, passwords

REPLICA_SET = "secantus"
_LISTED = (DATABASE, "stack")
_ASKING = Path(__file__).parent / "mongodb_asking.py"


def _python() -> str:
    python = PROJECT / ".venv" / "bin" / "python"
    if not python.exists():
        raise StackError(
            "the server of MongoDB's protocol is a package of the project's environment, which is not there",
            "uv sync, or scripts/test --fast, which makes it",
        )
    return str(python)


def url(layout: Layout, role: str) -> str:
    """The address with a role's login."""
    login = f"{role}:{passwords(layout.secrets, 'mongodb')[role]}"
    return f"mongodb://{login}@{LOOPBACK}:{layout.ports.mongodb}/?authSource={DATABASE}&replicaSet={REPLICA_SET}"


def feed_url(layout: Layout) -> str:
    """The address for the connector that feeds Driftline."""
    return url(layout, "cdc_feed")


def ask(layout: Layout, commands: str) -> str:
    """Run commands, one JSON object `{"db", "command"}` a line, as root; return the answers, one a line."""
    return _ask(commands, "--url", url(layout, MONGODB_ADMIN))


def _ask(commands: str, *where: str) -> str:
    # What it is asked holds passwords, so it comes by its input.
    return run("mongodb", (_python(), str(_ASKING), *where), text=commands)


def mark(layout: Layout, token: str) -> None:
    """Write the marker's token."""
    update = {"q": {"_id": 1}, "u": {"$set": {"token": token}}, "upsert": True}
    ask(layout, json.dumps({"db": "stack", "command": {"update": "marker", "updates": [update]}}))


def collections(layout: Layout) -> list[str]:
    """The shop's collections and the marker's, as `database.collection`."""
    told = [json.loads(line) for line in ask(layout, "\n".join(map(_listing, _LISTED))).splitlines()]
    batches = [(database, each["cursor"]["firstBatch"]) for database, each in zip(_LISTED, told, strict=True)]
    return [f"{database}.{each['name']}" for database, batch in batches for each in batch]


def _listing(database: str) -> str:
    return json.dumps({"db": database, "command": {"listCollections": 1, "nameOnly": True}})


def part(layout: Layout) -> Part:
    """The server; makes its data folder, with the administrator in it, at the first start."""
    folder = layout.databases / "mongodb"
    secrets = passwords(layout.secrets, "mongodb")
    made = {"createUser": MONGODB_ADMIN, "pwd": secrets[MONGODB_ADMIN], "roles": [{"role": "root", "db": "admin"}]}
    first = json.dumps({"db": DATABASE, "command": made})

    def initialise(fresh: Path) -> None:
        _ask(first, "--folder", str(fresh))

    make_once(folder, None, initialise)

    def lacks() -> str | None:
        try:
            socket.create_connection((LOOPBACK, layout.ports.mongodb), timeout=1).close()
        except OSError as fault:
            return str(fault)
        return None

    def run_script(script: str) -> None:
        ask(layout, script)

    def settle() -> None:
        provision_once(layout, "mongodb", filled("mongodb.jsonl", secrets), run_script)

    return Part(
        name="mongodb",
        ports=(layout.ports.mongodb,),
        command=(
            *(_python(), "-m", "secantus", "--host", LOOPBACK, "--port", str(layout.ports.mongodb)),
            *("--storage-path", str(folder), "--auth", "--cache-size", "128M"),
        ),
        folder=folder.parent,
        lacks=lacks,
        settle=settle,
    )
