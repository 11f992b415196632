"""What is imported only when it is used: public names of packages, functions, and parts of other packages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


def lazy_names(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions `__getattr__` and `__dir__` of a package, by the module of each public name."""

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted({*vars(sys.modules[package]), *homes})


class DeferredModules(MetaPathFinder):
    """Lets a package import some of its modules without their code being run, until something of them is used.

    For modules that a package imports and most programs never use. Unlike those of `importlib.util.LazyLoader` they are
    not run when they are imported again.

    Args:
        names: Full names of the modules.
        when: Asked before a module is deferred.
    """

    def __init__(self, names: Iterable[str], when: Callable[[], bool] = lambda: True) -> None:
        self.names, self.when = frozenset(names), when

    def find_spec(self, name: str, path: Any, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        """The spec of a deferred module, as the import system asks for it; None for others."""
        spec = PathFinder.find_spec(name, path) if name in self.names and self.when() else None
        if spec is not None and spec.loader is not None:
            spec.loader = _DeferringLoader(spec.loader)
        return spec


class _DeferringLoader(Loader):
    def __init__(self, real: Loader) -> None:
        self.real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        def get(name: str) -> Any:
            if name.startswith("__") and name != "__all__":  # what the import system looks for in any module
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            vars(module).pop("__getattr__", None)
            self.real.exec_module(module)
            return getattr(module, name)

        module.__getattr__ = get  # type: ignore[method-assign]
