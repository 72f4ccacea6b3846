"""`--json FILE` of commands that work for long: a file that cannot be written is told before they begin."""

from __future__ import annotations

import os
from pathlib import Path

import click


class WritableFile(click.Path):
    """A file that is or can be made: its folder is there, and lets itself be written."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False, writable=True)

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not path.parent.is_dir():
            self.fail(f"there is no folder {path.parent}; make it first", param, ctx)
        if not os.access(path.parent, os.W_OK):
            self.fail(f"the folder {path.parent} lets nobody write", param, ctx)
        return path


json_file_option = click.option("--json", "json_file", type=WritableFile(), help="Write all figures here.")
