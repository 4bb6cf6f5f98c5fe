"""A lazy module costs nothing until it is used, and then is what it would have been."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from formwork.lazy import import_lazily

FILES = {
    "lazy_package/__init__.py": "from lazy_package import first\nRAN = [True]\nSMALL = 'real'\n",
    "lazy_package/first.py": "import lazy_package\nRAN = [True]\n",
    "lazy_package/second.py": "from lazy_package import RAN\nVALUE = len(RAN)\n",
    "lazy_package/broken.py": "raise RuntimeError('broken')\n",
}


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    finders = list(sys.meta_path)
    yield
    sys.meta_path[:] = finders
    for name in [name for name in sys.modules if name.partition(".")[0] == "lazy_package"]:
        del sys.modules[name]


def has_run() -> bool:
    return "RAN" in vars(sys.modules["lazy_package"])


def test_it_runs_when_another_name_is_asked_for() -> None:
    import_lazily("lazy_package", SMALL=lambda: "at once")
    import lazy_package

    assert (lazy_package.SMALL, has_run()) == ("at once", False)
    assert not hasattr(lazy_package, "__wrapped__")
    assert not has_run()
    assert lazy_package.RAN == [True]
    assert (lazy_package.SMALL, sys.modules["lazy_package"]) == ("real", lazy_package)
    with pytest.raises(AttributeError, match="'lazy_package' has no attribute 'nothing'"):
        lazy_package.nothing  # noqa: B018


@pytest.mark.parametrize("name", ["first", "second"])
def test_it_runs_before_its_submodules_and_each_of_them_once(name: str) -> None:
    import_lazily("lazy_package")
    module = __import__(f"lazy_package.{name}", fromlist=["*"])
    assert has_run()
    assert module is sys.modules[module.__name__] is getattr(sys.modules["lazy_package"], name)
    assert module.__spec__.origin.endswith(f"{name}.py")
    assert sys.modules["lazy_package"].first.RAN is __import__("lazy_package.first", fromlist=["*"]).RAN


def test_where_a_value_cannot_be_made_it_runs() -> None:
    def fails() -> object:
        __import__("lazy_package.broken")
        return None

    import_lazily("lazy_package", SMALL=fails)
    from lazy_package import SMALL

    assert SMALL == "real"


def test_what_is_imported_or_not_there_stays_so() -> None:
    import lazy_package

    import_lazily("lazy_package", SMALL=lambda: "at once")
    assert lazy_package.SMALL == "real"
    with pytest.raises(ModuleNotFoundError, match="No module named 'lazy_packages'"):
        import_lazily("lazy_packages")
