"""What each script imports before it works: a package that takes long to import must not creep into one that does not
use it."""

import ast
import gc
import json
import subprocess
import sys
from pathlib import Path

import pytest

from formwork.startup import large_imports
from tests.processes import TIMEOUT
from tests.workspace import ROOT

pytestmark = pytest.mark.slow

HEAVY = {
    "dvc",
    "ffcv",
    "matplotlib",
    "numba",
    "pandas",
    "pytorch_lightning",
    "scipy.signal",
    "scipy.special",
    "scipy.stats",
    "sklearn",
    "torch",
    "torch._dynamo",
    "torchmetrics.functional",
    "torchvision",
}
USED = {
    "convert": {"numba"},
    "inspect_beton": {"matplotlib", "numba"},
    "compare": {"matplotlib"},
    "evaluate": {"matplotlib", "numba", "torch"},
    "evaluate_on": {"numba", "torch"},
    "export": {"numba", "torch"},
    "predict": {"numba", "torch"},
    "preview": {"matplotlib", "numba", "torch"},
    "sweep": {"matplotlib"},
    "report": {"matplotlib", "numba", "torch"},
    "try": {"matplotlib", "numba", "pytorch_lightning", "torch", "torch._dynamo"},
    "train": {"dvc", "matplotlib", "numba", "pytorch_lightning", "torch", "torch._dynamo"},  # by DVCLive and Lightning
    "tune": {"matplotlib", "numba", "torch"},
}
"""By script, what of HEAVY it may import: for what nearly each run of it does."""

LOOK = """
import importlib, json, runpy, sys
script, modules, heavy = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
sys.path.insert(0, str(__import__("pathlib").Path(script).parent))
def loaded():
    return [name for name in heavy if name in sys.modules]
sys.argv = [script, "--help"]
try:
    with_arguments = "argparse" in open(script, encoding="utf-8").read()
    runpy.run_path(script, run_name="__main__" if with_arguments else "script")
except SystemExit as end:
    assert not end.code, end.code
at_help = loaded()
for module in modules:
    importlib.import_module(module)
print(json.dumps([at_help, loaded()]))
"""


def imported_by(script: Path) -> list[str]:
    """Modules of formwork that it imports, at its top or in a function."""
    nodes = ast.walk(ast.parse(script.read_text(encoding="utf-8")))
    return [n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module and n.module.startswith("formwork")]


@pytest.mark.parametrize("script", sorted(path.stem for path in (ROOT / "src").glob("*.py") if path.stem != "install"))
def test_a_script_imports_no_package_that_it_does_not_use(script: str) -> None:
    path = ROOT / f"src/{script}.py"
    command = [sys.executable, "-c", LOOK, str(path), json.dumps(imported_by(path)), json.dumps(sorted(HEAVY))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr
    at_help, at_work = map(set, json.loads(done.stdout.splitlines()[-1]))
    assert at_work <= USED.get(script, set())
    if "torch" in at_work and script in ("train", "evaluate"):
        assert not at_help  # nor where params.yaml has a mistake


def test_the_package_imports_nothing_large() -> None:
    code = "import sys, formwork; print(*(name for name in sys.argv[1:] if name in sys.modules))"
    command = [sys.executable, "-c", code, *HEAVY, "numpy", "pydantic", "PIL", "yaml"]
    done = subprocess.run(command, cwd=ROOT / "src", capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_collected_after_large_imports_as_before(enabled: bool) -> None:
    before, frozen = gc.isenabled(), gc.get_freeze_count()
    (gc.enable if enabled else gc.disable)()
    try:
        with large_imports():
            assert not gc.isenabled()
        assert gc.isenabled() == enabled
        assert gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()
        (gc.enable if before else gc.disable)()
