"""The documentation belongs to this code: keys, defaults, stages, files, commands and tests that it names are there."""

import re

import pytest

from formwork.code import LAYERS
from formwork.tools.docs import PAGE, parameters_page, stages_by_key
from tests.workspace import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks/README.md"])


@pytest.mark.checkout
def test_the_page_of_params_is_made_from_their_fields() -> None:
    assert (ROOT / PAGE).read_text() == parameters_page(ROOT), "run `make docs`"


def test_every_param_is_tracked_by_a_stage() -> None:
    stages = stages_by_key(ROOT)

    assert [key for key, tracking in stages.items() if not tracking] == ["cluster"]  # it changes no output
    assert stages["data.batch_size"] == "train, evaluate"
    assert stages["sources.synthetic.images"] == "fetch"
    assert stages["datasets.<name>.augment.train"] == "link"


@pytest.mark.checkout
def test_the_map_for_contributors_has_each_package_in_its_place() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| (`[^|]+`) \|", text, re.MULTILINE)
    packages = [name for row in rows for name in re.findall(r"`(\w+)/`", row)]

    assert packages == list(reversed(LAYERS))


@pytest.mark.checkout
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
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
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_tests_that_are_named_exist(page):
    text = page.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    # In code only: "make sure" is none of ours.
    for command in re.findall(r"`make ([a-z-]+)`|^\$ make ([a-z-]+)", text, re.MULTILINE):
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
    code = code.replace("digits", "shapes").replace('"data.batch_size": 64', '"data.batch_size": 16')
    (repo / "example.py").write_text(code)
    output = repo.run("env", "PYTHONPATH=src", "python", "example.py").output
    assert "torch.Size([16, 3, 8, 8]) torch.float32 torch.int64" in output
