"""The imports of a folder of Python code, read from its source without running it."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from functools import cache
from pathlib import Path
from typing import NamedTuple


class When(Enum):
    """When an import statement runs."""

    LOADED = "as the module is loaded"
    CALLED = "as a function is called"
    NEVER = "for type checkers alone"


class Import(NamedTuple):
    """A module, by its dotted name, and when it is imported."""

    target: str
    when: When


class Imports:
    """Which modules of a folder import which others of it.

    Args:
        folder: the folder that would be on sys.path.
        dynamic: by module, those that it imports by names made at run time; `package.*` is all modules of a package
            but itself. A module that does so and is not in this mapping is an error.
        without: top-level packages that are left out.

    Raises:
        ValueError: a module imports by a computed name, and `dynamic` does not say what; or names no module there.
    """

    def __init__(self, folder: Path, dynamic: Mapping[str, Iterable[str]], without: Iterable[str] = ()):
        paths = {_module_name(path.relative_to(folder)): path for path in sorted(folder.rglob("*.py"))}
        self.files = {name: path for name, path in paths.items() if name.partition(".")[0] not in without}
        self.dynamic = set[str]()
        """Modules that import by computed names."""
        self._imports = {name: frozenset(self._read(name, path, dynamic)) for name, path in self.files.items()}

    def of(self, module: str, *when: When) -> frozenset[str]:
        """What a module imports itself, at these times (default: at any)."""
        return frozenset(target for target, at in self._imports[module] if at in (when or When))

    def names(self, module: str) -> frozenset[str]:
        """All that a module imports, other libraries included, by the first part of their names."""
        nodes = [node for node, _ in _imports(self.files[module].read_text(encoding="utf-8"))]
        found = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        found += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
        return frozenset(name.partition(".")[0] for name in found)

    def closure(self, start: str) -> frozenset[str]:
        """All modules that the code of `start` can run, itself included.

        Functions of imported modules are taken to be called. The packages that a module lies in are loaded before it:
        what they import then is in the closure, and what their functions import is not, unless something names them.
        """
        loaded: set[str] = set()
        called: set[str] = set()
        waiting = [(start, True)]
        while waiting:
            module, named = waiting.pop()
            if module in called or (module in loaded and not named):
                continue
            (called if named else loaded).add(module)
            times = (When.LOADED, When.CALLED) if named else (When.LOADED,)
            waiting += [(target, True) for target in self.of(module, *times)]
            waiting += [(package, False) for package in _packages(module) if package in self.files]
        return frozenset(loaded | called)

    def circles(self) -> list[list[str]]:
        """Groups of modules of which each imports all others, directly or through others, at any time."""
        reach = {module: self._reachable(module) for module in self.files}
        groups = {
            tuple(sorted(other for other in reach[module] if module in reach[other]))
            for module in self.files
            if module in reach[module]
        }
        return [list(group) for group in sorted(groups)]

    def _reachable(self, module: str) -> set[str]:
        found: set[str] = set()
        waiting = list(self.of(module))
        while waiting:
            target = waiting.pop()
            if target not in found:
                found.add(target)
                waiting += self.of(target)
        return found

    def _read(self, module: str, path: Path, dynamic: Mapping[str, Iterable[str]]) -> Iterator[Import]:
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        for node, when in _imports(path.read_text(encoding="utf-8")):
            if isinstance(node, ast.Import):
                yield from (Import(alias.name, when) for alias in node.names if alias.name in self.files)
            elif isinstance(node, ast.ImportFrom):
                yield from (Import(target, when) for target in self._import_from(node, package))
            else:
                if module not in dynamic:
                    raise ValueError(f"{module} imports by a computed name, and no table says what")
                self.dynamic.add(module)
                targets = {target for pattern in dynamic[module] for target in self._matching(pattern)}
                yield from (Import(target, when) for target in targets - {module})

    def _import_from(self, node: ast.ImportFrom, package: str) -> Iterator[str]:
        base = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, *filter(None, [node.module])])
        submodules = {f"{base}.{alias.name}" for alias in node.names} & self.files.keys()
        yield from submodules
        if base in self.files and len(submodules) < len(node.names):
            yield base

    def _matching(self, pattern: str) -> Iterator[str]:
        prefix, star, _ = pattern.partition("*")
        found = [name for name in self.files if (name.startswith(prefix) if star else name == pattern)]
        if not found:
            raise ValueError(f"no module is called {pattern}")
        yield from found


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _packages(module: str) -> Iterator[str]:
    """Those that a module lies in, from the innermost on."""
    while module := module.rpartition(".")[0]:
        yield module


@cache  # a copy of the code differs in few files
def _imports(source: str) -> list[tuple[ast.Import | ast.ImportFrom | ast.Call, When]]:
    """The import statements of a module, and calls that import by a name made at run time."""
    return [
        (node, when)
        for node, when in _walk(ast.parse(source), When.LOADED)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        or (isinstance(node, ast.Call) and last_name(node.func) in ("import_module", "__import__"))
    ]


def _walk(node: ast.AST, when: When) -> Iterator[tuple[ast.AST, When]]:
    """All nodes below one, and when they run."""
    yield node, when
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) and when is When.LOADED:
        when = When.CALLED
    for child in ast.iter_child_nodes(node):
        only_types = isinstance(node, ast.If) and last_name(node.test) == "TYPE_CHECKING" and child in node.body
        yield from _walk(child, When.NEVER if only_types else when)


def last_name(node: ast.AST) -> str | None:
    """The last part of a dotted name."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None
