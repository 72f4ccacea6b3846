"""Import one module of the product with one rule broken, before anything else imports it."""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from mutant_parts.catalogue import Mutant


class NotThere(Exception):
    """What a mutant replaces is not in the module exactly once: its rule was rewritten, and so must the mutant be."""


def broken_source(mutant: Mutant) -> str:
    """Return the module's source with the rule broken."""
    spec = importlib.util.find_spec(mutant.module)
    if spec is None or spec.origin is None:
        raise NotThere(f"{mutant.name}: no module {mutant.module}")
    source = Path(spec.origin).read_text(encoding="utf-8")
    if source.count(mutant.before) != 1:
        raise NotThere(f"{mutant.name}: {source.count(mutant.before)} times in {mutant.module}: {mutant.before!r}")
    return source.replace(mutant.before, mutant.after)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the one module, and has it made from the broken source."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._source = broken_source(mutant)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return how the module is made, None for every other."""
        if fullname != self._mutant.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None:
            return None
        return importlib.util.spec_from_loader(fullname, _Loader(self._source, spec.origin))


class _Loader(importlib.abc.SourceLoader):
    """Makes a module from a source that is not the file's."""

    def __init__(self, source: str, origin: str) -> None:
        self._source = source
        self._origin = origin

    def get_filename(self, fullname: str) -> str:
        """Return the file's name, for tracebacks."""
        del fullname
        return self._origin

    def get_data(self, path: str | bytes) -> bytes:
        """Return the broken source."""
        del path
        return self._source.encode()


def break_rule(mutant: Mutant) -> None:
    """Let this process import the broken module from now on; `NotThere` if it already has the sound one."""
    if mutant.module in sys.modules:
        raise NotThere(f"{mutant.module} was imported before")
    sys.meta_path.insert(0, _Finder(mutant))
