"""The tables in formwork/code.py say what the stages' code is, and dvc.yaml repeats them."""

import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest

from formwork import code
from tests.layout import code_deps, findings
from tests.workspace import ROOT

DEPS = code_deps(ROOT)


def tables(**changes: object) -> SimpleNamespace:
    return SimpleNamespace(**{name: value for name, value in vars(code).items() if name.isupper()} | changes)


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """A copy of src/ to plant mistakes in."""
    return Path(shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "own")))


@cache  # seconds, which every process that collects tests would spend
def now() -> set[str]:
    """What is wrong in this checkout."""
    return set(findings(ROOT / "src", DEPS, tables()))


def found(src: Path = ROOT / "src", deps: Mapping[str, set[str]] = DEPS, **changes: object) -> set[str]:
    """What is wrong because of what a test has planted."""
    return set(findings(src, deps, tables(**changes))) - now()


def plant(src: Path, path: str, lines: str) -> None:
    """Add lines to a file, or make it."""
    file = src / path
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as stream:
        stream.write(f"\n{lines}\n")


def test_the_code_is_what_the_tables_and_dvc_yaml_say() -> None:
    assert not now()


@pytest.mark.parametrize(
    "lines",
    [
        "import formwork.beton.planted",
        "import formwork.beton.planted as planted",
        "from formwork.beton import planted",
        "from formwork.beton.planted import NAME",
        "def f():\n    from formwork.beton.planted import NAME",
        "class C:\n    def m(self):\n        if self:\n            import formwork.beton.planted",
    ],
)
def test_code_that_a_stage_uses_and_does_not_list_is_found(src: Path, lines: str) -> None:
    plant(src, "formwork/beton/planted.py", "NAME = 1")
    plant(src, "fetch.py", lines)
    assert {
        "fetch uses beton/__init__.py, which its row of STAGES does not list",
        "fetch uses beton/planted.py, which its row of STAGES does not list",
    } <= found(src)


def test_code_is_found_through_other_modules(src: Path) -> None:
    plant(src, "formwork/planted_2.py", "")
    plant(src, "formwork/planted_1.py", "def f():\n    import formwork.planted_2")
    plant(src, "formwork/datasets/link.py", "from formwork import planted_1")
    assert found(src) == {
        "link uses planted_1.py, which its row of STAGES does not list",
        "link uses planted_2.py, which its row of STAGES does not list",
    }


def test_what_a_package_loads_is_used_by_whoever_imports_a_module_of_it(src: Path) -> None:
    plant(src, "formwork/planted.py", "")
    plant(src, "formwork/sources/__init__.py", "import formwork.planted")
    plant(src, "formwork/__init__.py", "def __getattr__(name):\n    import formwork.training.fit")  # not used
    assert found(src) == {"fetch uses planted.py, which its row of STAGES does not list"}


def test_what_only_type_checkers_read_is_not_used(src: Path) -> None:
    plant(src, "formwork/planted.py", "")
    plant(src, "link.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import formwork.planted")
    assert found(src) == set()


def test_code_that_a_stage_lists_and_does_not_use_is_found(src: Path) -> None:
    plant(src, "formwork/conversion/planted.py", "")
    wrong = found(src, STAGES=code.STAGES | {"link": (*code.STAGES["link"], "models", "gone")})
    assert "convert lists conversion/planted.py, which it does not use" in wrong
    assert "link lists models/build.py, which it does not use" in wrong
    assert "link lists gone, which is not there" in wrong
    assert "dvc.yaml: link lacks the dep src/formwork/models" in wrong


def test_dvc_yaml_and_the_tables_must_agree() -> None:
    deps = DEPS | {"link": DEPS["link"] - {"src/link.py"} | {"src/formwork/models"}, "planted": {"src/planted.py"}}
    deps["train"] = deps["train"] - {"src/own"}
    del deps["evaluate"]
    wrong = found(deps=deps)
    assert "dvc.yaml: link lacks the dep src/link.py" in wrong
    assert "dvc.yaml: link has the dep src/formwork/models, unlike STAGES" in wrong
    assert "dvc.yaml: planted has the dep src/planted.py, unlike STAGES" in wrong
    assert "dvc.yaml: train lacks the dep src/own" in wrong
    assert "dvc.yaml: evaluate lacks the dep src/evaluate.py" in wrong


def test_each_exception_must_be_needed() -> None:
    wrong = found(
        UNTRACKED=code.UNTRACKED | {"planted.py": "a reason", "images": "a reason"},
        UNTRACKED_BY=code.UNTRACKED_BY | {("link", "images/manifest.py"): "a reason"},
        UNUSED=code.UNUSED | {("link", "images/manifest.py"): "a reason"},
        DYNAMIC=code.DYNAMIC | {"files.py": ("images.*",)},
    )
    assert wrong == {
        "DYNAMIC names files.py, which imports nothing by a computed name",
        "UNTRACKED names images, which no stage uses untracked",
        "UNTRACKED names planted.py, which no stage uses untracked",
        "UNTRACKED_BY names images/manifest.py, which link does not use untracked",
        "UNUSED names images/manifest.py, which link uses or does not list",
    }
    assert all([*code.UNTRACKED.values(), *code.UNTRACKED_BY.values(), *code.UNUSED.values()])  # and give its reason


def test_names_made_at_run_time_must_be_stated(src: Path) -> None:
    plant(src, "formwork/sources/planted.py", "")
    assert found(src) == set()  # sources.* are stated
    plant(src, "formwork/images/manifest.py", "import importlib\n\nimportlib.import_module(f'formwork.{__name__}')")
    assert found(src) == {"formwork.images.manifest imports by a computed name, and no table says what"}


def test_imports_run_down_and_in_no_circle(src: Path) -> None:
    plant(src, "formwork/planted/a.py", "")
    plant(src, "formwork/kernels/vectors.py", "def f():\n    from formwork.loading import order")
    plant(src, "formwork/loading/order.py", "def f():\n    from formwork.loading import base")
    plant(src, "formwork/text.py", "from formwork.interim import settings")
    plant(src, "formwork/interim/settings.py", "def f():\n    import formwork.text")
    wrong = found(src)
    assert "planted/a.py is in no package of LAYERS" in wrong
    assert "kernels/vectors.py imports loading/order.py, which stands above it" in wrong
    assert "text.py imports interim/settings.py, which stands above it" in wrong
    assert "these import each other: interim/settings.py, text.py" in wrong


def test_no_stage_imports_tools_benchmarks_or_another_script(src: Path) -> None:
    plant(src, "train.py", "def f():\n    import convert\n    from formwork.tools import measure")
    plant(src, "formwork/training/fit.py", "import benchmarks.page\nfrom formwork.tools import measure")
    wrong = found(src)
    assert "train imports convert, another script" in wrong
    assert "train uses tools/measure.py, which its row of STAGES does not list" in wrong
    assert "training/fit.py imports tools/measure.py, which stands above it" in wrong
    assert "training/fit.py imports benchmarks, which measure it" in wrong


def test_all_that_kernels_are_compiled_from_is_in_kernels(src: Path) -> None:
    plant(src, "formwork/images/planted.py", "SIZE = 3")
    plant(src, "formwork/files.py", "from formwork.kernels.compile import kernel\n@kernel\ndef f(x):\n    return x")
    kernel = "@inner_kernel\ndef f(x):\n    return x * AREA"
    plant(src, "formwork/kernels/vectors.py", f"from formwork.images.planted import SIZE\nAREA = SIZE**2\n{kernel}")
    wrong = found(src)
    assert "KERNELS leaves out files.py, which compiled code is made from" in wrong
    assert "KERNELS leaves out images/planted.py, which compiled code is made from" in wrong
    wrong = found(src, KERNELS=("drawing", "loading", "kernels/jpeg"))
    assert "KERNELS leaves out kernels/compile.py, which compiled code is made from" in wrong
    assert "KERNELS lists drawing, from which nothing is compiled" in wrong


def test_a_checkpoint_depends_on_what_train_does() -> None:
    assert found(CHECKPOINT=("training",)) == {"CHECKPOINT is not what train depends on"}
