"""The wheel: it is the package `formwork` alone, with all that it needs, and works from any folder."""

import ast
import re
import subprocess
import sys
import sysconfig
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.tools.setup.conftest import UV
from tests.workspace import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OF_THE_REPOSITORY = {"formwork", "own"}

IN_THE_ENVIRONMENT = """
import formwork, formwork.loading.factory, formwork.tools.report.page, formwork.training.fit
from importlib.metadata import version
from pathlib import Path
folder = Path(formwork.__file__).parent
assert folder.is_relative_to({site!r}), folder
assert (folder / "tools/report/page.html").exists() and (folder / "py.typed").exists()
assert version("formwork") == formwork.__version__
print(formwork.__version__)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel; its dependencies are found in that of the tests."""
    folder = tmp_path_factory.mktemp("package")
    subprocess.run([UV, "build", "--quiet", "--offline", "--wheel", "--out-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("formwork-*.whl")
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    install = [UV, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", environment / "bin/python"]
    subprocess.run([*install, wheel], check=True)
    return environment


def site_packages(environment: Path) -> Path:
    (site,) = environment.glob("lib/python*/site-packages")
    return site


@pytest.mark.slow
def test_the_wheel_brings_the_package_and_nothing_else(environment: Path) -> None:
    names = {path.name for path in site_packages(environment).iterdir()}
    assert names == {"formwork", f"formwork-{PROJECT['version']}.dist-info"}
    site = site_packages(environment)
    packaged = {path.relative_to(site) for path in site.glob("formwork/**/*.py")}
    assert packaged == {path.relative_to(ROOT / "src") for path in (ROOT / "src/formwork").rglob("*.py")}


@pytest.mark.slow
def test_it_works_from_another_folder(environment: Path, tmp_path: Path) -> None:
    site = site_packages(environment)
    (tmp_path / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    code = f"import site; site.addsitedir({str(tmp_path)!r})\n{IN_THE_ENVIRONMENT.format(site=str(site))}"
    command = [environment / "bin/python", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == PROJECT["version"]


def names(requirements: list[str]) -> set[str]:
    """Normalized names of the packages."""
    found = (re.match(r"[\w.-]+", requirement) for requirement in requirements)
    return {re.sub(r"[-_.]+", "-", match[0]).lower() for match in found if match}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 does not know what most packages bring")
def test_what_the_package_imports_is_what_it_depends_on() -> None:
    imported = set()
    for path in (ROOT / "src/formwork").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    extras = PROJECT["optional-dependencies"]
    used = ("ffcv", "cluster", "sweep", "export", "loggers")
    declared = names(PROJECT["dependencies"]).union(*(names(extras[extra]) for extra in used))
    brought_by = packages_distributions()
    third_party = imported - set(sys.stdlib_module_names) - OF_THE_REPOSITORY
    assert {module for module in third_party if not names(brought_by.get(module, [])) & declared} == set()


def test_peers_of_the_benchmark_are_pinned() -> None:
    pinned = names((ROOT / "benchmarks/requirements-peers.txt").read_text().splitlines())
    assert names(PROJECT["optional-dependencies"]["bench"]) - {"formwork"} <= pinned
