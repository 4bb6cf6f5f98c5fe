"""Modules that are imported when somebody uses them, not when somebody says `import`."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType

_LAZY: dict[str, "LazyModule"] = {}
_LOCK = RLock()


class LazyModule(ModuleType):
    """A module that is run when somebody asks for a name or a submodule that `at_once` does not have.

    It stays the same object: whoever has it by then finds all its names.

    Args:
        at_once: by name, what makes the value that it has before the module is run. Where it fails, for it belongs to
            another version of the module, the module is run.
    """

    def __init__(self, name: str, at_once: Mapping[str, Callable[[], object]]):
        spec = find_spec(name)
        if spec is None or spec.loader is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        super().__init__(name)
        vars(self).update(vars(module_from_spec(spec)))
        self._loader, self._at_once, self._making = spec.loader, at_once, False

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") and name != "__all__" and name not in self._at_once:  # asked of any module by tools
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        with _LOCK:
            if name not in vars(self) and name in self._at_once and (value := self._make(name)) is not None:
                setattr(self, name, value)
            elif name not in vars(self):
                self.run()
        return getattr(self, name)

    def _make(self, name: str) -> object:
        """None where that fails."""
        before = set(sys.modules)
        self._making = True
        try:
            return self._at_once[name]()
        except Exception:  # of any kind: another version
            for module in sys.modules.keys() - before:
                if module.startswith(f"{self.__name__}."):
                    del sys.modules[module]
            return None
        finally:
            self._making = False

    def run(self) -> None:
        """Become the module as it is. Once."""
        with _LOCK:
            if type(self) is not LazyModule:
                return
            del _LAZY[self.__name__]
            self.__class__ = ModuleType  # type: ignore[assignment]  # from here on; the names above are overwritten
            try:
                self._loader.exec_module(self)
            except BaseException:
                sys.modules.pop(self.__name__, None)
                raise


class _RunsPackageFirst(MetaPathFinder):
    """Runs a lazy package before any of its submodules is imported, as Python would."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        package = _LAZY.get(name.rpartition(".")[0])
        if package is None or package._making:
            return None
        package.run()
        loaded = sys.modules.get(name)
        return None if loaded is None else ModuleSpec(name, _Loaded(loaded))


class _Loaded(Loader):
    """Of a module that its package has imported meanwhile."""

    def __init__(self, module: ModuleType):
        self.module, self.spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec


def import_lazily(name: str, **at_once: Callable[[], object]) -> None:
    """Let `import name` cost nothing, if it has not been imported yet; see LazyModule.

    Raises:
        ImportError: there is no such module.
    """
    if name in sys.modules:
        return
    module = LazyModule(name, at_once)
    package, _, short = name.rpartition(".")
    if package:
        setattr(sys.modules[package], short, module)
    sys.modules[name] = _LAZY[name] = module
    if not any(isinstance(finder, _RunsPackageFirst) for finder in sys.meta_path):
        sys.meta_path.insert(0, _RunsPackageFirst())
