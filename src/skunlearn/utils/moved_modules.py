"""The modules that files of one's own imported in 0.1, under their old names.

A class named as `FILE.py:Class` may have been written for 0.1. While such a file is loaded, the
imports that the documentation of 0.1 gave resolve to where the modules are now. They go with the
next release.
"""

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "skunlearn.errors": "skunlearn.utils.errors",
    "skunlearn.filters": "skunlearn.task_vectors.filters",
    "skunlearn.filters.base": "skunlearn.task_vectors.filters.base",
    "skunlearn.judges": "skunlearn.evaluation.judges",
    "skunlearn.judges.base": "skunlearn.evaluation.judges.base",
    "skunlearn.judges.degenerate": "skunlearn.evaluation.judges.degenerate",
    "skunlearn.losses": "skunlearn.methods.losses",
    "skunlearn.metrics": "skunlearn.evaluation.metrics",
    "skunlearn.metrics.base": "skunlearn.evaluation.metrics.base",
    "skunlearn.task_vector": "skunlearn.task_vectors.vector",
}


class _MovedLoader(Loader):
    """Gives the module at its new place, unchanged."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(MOVED[spec.name])
        self.own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # the import system has just put the old name's spec on the module
        module.__spec__ = self.own_spec


class _MovedFinder(MetaPathFinder):
    """Finds modules by their old names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, _MovedLoader()) if fullname in MOVED else None


@contextmanager
def old_names() -> Iterator[None]:
    """A block inside which the old names of modules can be imported."""
    finder = _MovedFinder()
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in MOVED:
            sys.modules.pop(name, None)
