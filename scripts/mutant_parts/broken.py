"""Import modules of the product with one rule broken, before anything else imports them."""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from mutant_parts.catalogue import Mutant


class NotThere(Exception):
    """What a mutant replaces is not in its module exactly once: its rule was rewritten, and so must the mutant be."""


def broken_sources(mutant: Mutant) -> dict[str, str]:
    """Return the sources of the modules in which the rule is broken, by their names."""
    sources: dict[str, str] = {}
    for edit in mutant.edits:
        source = sources.get(edit.module) or _source_of(edit.module)
        if source.count(edit.before) != 1:
            raise NotThere(f"{mutant.name}: {source.count(edit.before)} times in {edit.module}: {edit.before!r}")
        sources[edit.module] = source.replace(edit.before, edit.after)
    return sources


def _source_of(module: str) -> str:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise NotThere(f"no module {module}")
    return Path(spec.origin).read_text(encoding="utf-8")


class _Finder(importlib.abc.MetaPathFinder):
    """Finds these modules, and has them made from their broken sources."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return how such a module is made, None for every other."""
        if fullname not in self._sources:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None:
            return None
        return importlib.util.spec_from_loader(fullname, _Loader(self._sources[fullname], spec.origin))


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
    """Let this process import the broken modules from now on; `NotThere` if it already has a sound one."""
    sources = broken_sources(mutant)
    there = sources.keys() & sys.modules.keys()
    if there:
        raise NotThere(f"{', '.join(sorted(there))} was imported before")
    sys.meta_path.insert(0, _Finder(sources))
