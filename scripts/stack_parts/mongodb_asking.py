"""Run commands in a server of MongoDB's protocol, with the Python of the project's environment.

Reads one JSON object `{"db", "command"}` a line from the input and prints each answer as a line; ends with the first
that is refused. A user or collection that is there already is no fault: `createUser` is tried as `updateUser` then.
With `--folder` it asks a server that runs for as long as it takes, on a data folder that no other has in use, without
logins: that is how the first login is made.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from typing import Any

from bson import json_util
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from secantus import SecantusDBServer

_IS_THERE = {48, 51003}


@contextlib.contextmanager
def _server(folder: str) -> Iterator[str]:
    server = SecantusDBServer(port=0, storage_path=folder)
    server.start()
    try:
        yield server.uri
    finally:
        server.stop()


def _run(client: MongoClient[dict[str, Any]], database: str, command: dict[str, Any]) -> dict[str, Any]:
    try:
        return client[database].command(command)
    except OperationFailure as refused:
        if refused.code not in _IS_THERE:
            raise
        if "createUser" not in command:
            return {"ok": 1}
    renamed = {"updateUser" if name == "createUser" else name: value for name, value in command.items()}
    return client[database].command(renamed)


def main() -> int:
    """Exit code 0: all was done; 1: with what the server refused."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url")
    parser.add_argument("--folder")
    where = parser.parse_args()
    with _server(where.folder) if where.folder else contextlib.nullcontext(where.url) as url:
        client: MongoClient[dict[str, Any]] = MongoClient(url, serverSelectionTimeoutMS=5_000)
        with client:
            for line in filter(str.strip, sys.stdin):
                asked = json.loads(line)
                try:
                    print(json_util.dumps(_run(client, asked["db"], asked["command"])))
                except OperationFailure as refused:
                    print(f"{next(iter(asked['command']))}: {refused.details}", file=sys.stderr)
                    return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
