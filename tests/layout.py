"""Compares the code in a src/ with what is written about it: the tables in formwork/code.py, and the deps in dvc.yaml
and data/dvc.yaml."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from formwork.yaml import read_yaml
from tests.imports import Imports, last_name

PACKAGE = "formwork"
COMPILERS = {"kernel", "inner_kernel", "njit", "jit", "vectorize", "guvectorize", "intrinsic", "overload"}
"""What makes a function compiled code."""
LOCATE_OWN_CODE = {"kernels/cache.py", "training/resume.py"}
"""Modules that import formwork.own to know where the user's code lies, and run none of it."""


def code_deps(root: Path) -> dict[str, set[str]]:
    """By stage of a repository, its deps in src/."""
    found = {}
    for file in (root / "dvc.yaml", root / "data/dvc.yaml"):
        for name, stage in read_yaml(file)["stages"].items():
            found[name] = {dep for dep in stage.get("do", stage)["deps"] if dep.startswith("src/")}
    return found


def findings(src: Path, deps: Mapping[str, set[str]], tables: SimpleNamespace) -> list[str]:
    """What is wrong, a sentence each.

    Args:
        src: the scripts and the package `formwork`.
        deps: as code_deps reads them.
        tables: those of formwork/code.py.
    """
    try:
        layout = Layout(src, tables)
    except ValueError as error:
        return [str(error)]
    checks = (layout.arrows(), layout.stages(), layout.exceptions(), layout.compiled(), layout.dvc_files(deps))
    return [finding for check in checks for finding in check]


class Layout:
    """The modules of the package, by their path in it, and what the tables say of them."""

    def __init__(self, src: Path, tables: SimpleNamespace):
        self.tables = tables
        dynamic = {_dotted(path): map(_dotted, targets) for path, targets in tables.DYNAMIC.items()}
        self.imports = Imports(src, dynamic, without=("own",))
        self.paths = {
            module: file.relative_to(src / PACKAGE).as_posix()
            for module, file in self.imports.files.items()
            if module.split(".")[0] == PACKAGE
        }
        self.used = {stage: self._paths(self.imports.closure(stage)) for stage in tables.STAGES}
        self.listed = {stage: self._in(entries) for stage, entries in tables.STAGES.items()}

    def arrows(self) -> Iterator[str]:
        """Imports that run up, those that run in a circle, and packages without a place."""
        for module, path in self.paths.items():
            targets = self._paths(self.imports.of(module))
            yield from (
                f"{path} imports {target}, which stands above it" for target in targets if self._above(target, path)
            )
            if "benchmarks" in self.imports.names(module):
                yield f"{path} imports benchmarks, which measure it"
            if "/" in path and path.split("/")[0] not in self.tables.LAYERS:
                yield f"{path} is in no package of LAYERS"
        for circle in self.imports.circles():
            yield f"these import each other: {', '.join(sorted(self._paths(circle)))}"

    def stages(self) -> Iterator[str]:
        """What stages use and do not list, and the other way round."""
        untracked = self._in(self.tables.UNTRACKED)
        for stage, used in self.used.items():
            for path in used - self.listed[stage] - untracked:
                if (stage, path) not in self.tables.UNTRACKED_BY:
                    yield f"{stage} uses {path}, which its row of STAGES does not list"
            for path in self.listed[stage] - used:
                if (stage, path) not in self.tables.UNUSED:
                    yield f"{stage} lists {path}, which it does not use"
            yield from (
                f"{stage} lists {entry}, which is not there" for entry in self._missing(self.tables.STAGES[stage])
            )
            others = self.imports.closure(stage) - self.paths.keys() - {stage}
            yield from (f"{stage} imports {other}, another script" for other in others)
            runs_own_code = {
                path
                for path in used
                if f"{PACKAGE}.own" in self.imports.of(_dotted(path)) and path not in LOCATE_OWN_CODE
            }
            if bool(runs_own_code) != (stage in self.tables.WITH_OWN_CODE):
                yield f"{stage} {'runs' if runs_own_code else 'does not run'} the user's own code, unlike WITH_OWN_CODE"
        if self.tables.STAGES["train"] != self.tables.CHECKPOINT:
            yield "CHECKPOINT is not what train depends on"

    def exceptions(self) -> Iterator[str]:
        """Exceptions that nothing needs."""
        used = set().union(*self.used.values())
        listed = set().union(*self.listed.values())
        for entry in self.tables.UNTRACKED:
            if not self._in([entry]) & used - listed:
                yield f"UNTRACKED names {entry}, which no stage uses untracked"
        for stage, path in self.tables.UNTRACKED_BY:
            if path not in self.used[stage] - self.listed[stage]:
                yield f"UNTRACKED_BY names {path}, which {stage} does not use untracked"
        for stage, path in self.tables.UNUSED:
            if path not in self.listed[stage] - self.used[stage]:
                yield f"UNUSED names {path}, which {stage} uses or does not list"
        for path in self.tables.DYNAMIC:
            if _dotted(path) not in self.imports.dynamic:
                yield f"DYNAMIC names {path}, which imports nothing by a computed name"

    def compiled(self) -> Iterator[str]:
        """Modules that compiled code is made from and KERNELS leaves out, and its entries without such."""
        listed = self._in(self.tables.KERNELS)
        compiled = set()
        for module, path in self.paths.items():
            if sources := _sources_of_kernels(self.imports.files[module].read_text(encoding="utf-8")):
                compiled |= {path, *self._paths(sources)}
        yield from (f"KERNELS leaves out {path}, which compiled code is made from" for path in compiled - listed)
        for entry in self.tables.KERNELS:
            if not self._in([entry]) & compiled:
                yield f"KERNELS lists {entry}, from which nothing is compiled"

    def dvc_files(self, deps: Mapping[str, set[str]]) -> Iterator[str]:
        """Differences between the tables and the stages' deps."""
        for stage in sorted(deps.keys() | self.tables.STAGES.keys()):
            entries = self.tables.STAGES.get(stage, ())
            expected = {f"src/{PACKAGE}/{entry}" for entry in entries}
            if stage in self.tables.STAGES:
                expected.add(f"src/{stage}.py")
            if stage in self.tables.WITH_OWN_CODE:
                expected.add("src/own")
            actual = deps.get(stage, set())
            yield from (f"dvc.yaml: {stage} lacks the dep {dep}" for dep in expected - actual)
            yield from (f"dvc.yaml: {stage} has the dep {dep}, unlike STAGES" for dep in actual - expected)

    def _paths(self, modules: Iterable[str]) -> set[str]:
        return {self.paths[module] for module in modules if module in self.paths}

    def _in(self, entries: Iterable[str]) -> set[str]:
        """Paths of the modules in these packages, and of these modules."""
        return {path for path in self.paths.values() for entry in entries if f"{path}/".startswith(f"{entry}/")}

    def _missing(self, entries: Iterable[str]) -> list[str]:
        return [entry for entry in entries if not self._in([entry])]

    def _above(self, path: str, other: str) -> bool:
        return self._height(path) > self._height(other)

    def _height(self, path: str) -> int:
        """Of its layer; -1 for modules below all packages, and the most for the public names."""
        if path == "__init__.py":
            return len(self.tables.LAYERS)
        place, *_ = path.split("/")
        return self.tables.LAYERS.index(place) if place in self.tables.LAYERS else -1


def _dotted(path: str) -> str:
    """The name of the module at a path in the package."""
    return f"{PACKAGE}.{path.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}".removesuffix(".__init__")


@cache  # a copy of the code differs in few files
def _sources_of_kernels(source: str) -> set[str]:
    """The modules, by dotted names, that the compiled functions of a module take functions or constants from, whether
    they name them or what the module makes of them; also those of its compiler. None where nothing is compiled."""
    tree = ast.parse(source)
    imported: dict[str, set[str]] = {}
    defined: dict[str, list[ast.AST]] = {}
    for node in tree.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                imported[alias.asname or alias.name.split(".")[0]] = {alias.name}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                imported[alias.asname or alias.name] = {node.module or "", f"{node.module}.{alias.name}"}
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined.setdefault(node.name, []).append(node)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in ast.walk(node):
                if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store):
                    defined.setdefault(target.id, []).append(node)
    waiting = [node for node in ast.walk(tree) if _is_compiled(node)]
    sources: set[str] = set()
    seen: set[str] = set()
    while waiting:
        names = {node.id for node in ast.walk(waiting.pop()) if isinstance(node, ast.Name)} - seen
        seen |= names
        sources = sources.union(*(imported.get(name, ()) for name in names))
        waiting += [definition for name in names for definition in defined.get(name, ())]
    return sources


def _is_compiled(node: ast.AST) -> bool:
    """Whether a node is a compiled function, or a call that compiles one."""
    if isinstance(node, ast.FunctionDef):
        decorators = [
            decorator.func if isinstance(decorator, ast.Call) else decorator for decorator in node.decorator_list
        ]
        return any(last_name(decorator) in COMPILERS for decorator in decorators)
    return isinstance(node, ast.Call) and last_name(node.func) in COMPILERS
