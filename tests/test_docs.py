"""The documentation belongs to this code: keys, defaults, stages, files, commands and tests that it names are there."""

import re
from collections.abc import Iterator

import pytest
import yaml
from pydantic import BaseModel

from formwork.params import Dataset, Params
from tests.workspace import ROOT

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


def leaves(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[str]:
    """The keys of params.yaml that hold a value."""
    for name, field in model.model_fields.items():
        if name == "datasets":
            yield from leaves(Dataset, ("datasets", "<name>"))
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, (*path, name))
        else:
            yield ".".join((*path, name))


def documented() -> dict[str, tuple[object, str]]:
    """Default and stages by key, from the tables of docs/parameters.md."""
    text = (ROOT / "docs/parameters.md").read_text()
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| [^\n]*? \| ([a-z, ]+) \| ", text, re.MULTILINE)
    return {key: (yaml.safe_load(default), stages) for key, default, stages in rows}


def default_of(key: str) -> object:
    *sections, name = key.split(".")
    if sections[0:1] == ["datasets"]:
        model = Dataset().model_dump()
        return model[sections[2]][name] if len(sections) > 2 else model[name]
    value = PARAMS
    for step in (*sections, name):
        value = value[step]
    return value


def stages_of(key: str) -> str:
    """The stages that track a key, or a section that it is in."""
    if key == "data.name":
        return "all"  # it is in every path
    if key == "data.fetch":
        return "fetch"  # it makes those stages
    stages = {}
    for file in ("dvc.yaml", "data/dvc.yaml"):
        stages |= yaml.safe_load((ROOT / file).read_text())["stages"]
    tracking = []
    for name in ("fetch", "link", "convert", "train", "evaluate"):
        tracked = stages[name].get("do", stages[name]).get("params", [])
        tracked = [re.sub(r"\.\$\{.*\}$", "", param) for param in tracked]
        if any(key == param or key.startswith(f"{param}.") for param in tracked):
            tracking.append(name)
    return ", ".join(tracking)


@pytest.mark.checkout
def test_every_parameter_is_documented_with_its_default_and_stages():
    expected = {key: (default_of(key), stages_of(key)) for key in leaves(Params)}
    assert documented() == expected


@pytest.mark.checkout
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for text, target in re.findall(r"\[([^\]]+)\]\(([^)]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name}: [{text}]({target})"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.checkout
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_tests_that_are_named_exist(page):
    text = page.read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    # In code only: "make sure" is none of ours.
    for command in re.findall(r"`make ([a-z]+)`|^\$ make ([a-z]+)", text, re.MULTILINE):
        assert set(command) - {""} <= targets, command
    for script in re.findall(r"python (src/\w+\.py)", text):
        assert (ROOT / script).exists(), script
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"\b(test_\w+)\b(?!\.py)", text):
        assert f"def {name}(" in tests, name
    for path in re.findall(r"`((?:\w+/)*test_\w+\.py)", text):
        assert (ROOT / "tests" / path.removeprefix("tests/")).exists(), path


def test_the_loader_alone_works_as_described(repo):
    text = (ROOT / "docs/migrating.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    code = code.replace("digits", "shapes").replace("batch_size=64", "batch_size=16")
    (repo / "example.py").write_text(code)
    output = repo.run("env", "PYTHONPATH=src", "python", "example.py").output
    assert "torch.Size([16, 3, 8, 8]) torch.float32 torch.int64" in output
