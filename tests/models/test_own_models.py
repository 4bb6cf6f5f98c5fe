"""own/<function>: a function of src/own/models.py makes the model, and each mistake in it is named with its place."""

import os
import subprocess
import sys
from pathlib import Path

from tests.test_own import make_repository
from tests.workspace import ROOT

MODELS = """
import torch
from torch import nn


def tiny(classes, width=4):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(width), nn.Linear(width, classes))


def free(classes, **options):
    return tiny(classes, **options)


def needs(classes, depth):
    return tiny(classes)


def fails(classes):
    raise KeyError("nothing")


def nothing(classes):
    pass


def wide(classes):
    return tiny(classes + 1)


_hidden = tiny
"""

CASES = {
    "own/tiny": "made: Sequential",
    "own/tiny width=7": "made: Sequential",
    "own/free width=7": "made: Sequential",
    "own/tini": "has no function 'tini'. Did you mean 'tiny'?",
    "own/torch": "has no function 'torch'. Known: fails, free, needs, nothing, tiny, wide.",
    "own/tiny widht=7": "'widht', which is no option of own/tiny. Did you mean 'width'?",
    "own/tiny classes=7": "model.options.classes cannot be set",
    "own/needs": "needs(classes, **model.options): missing a required argument: 'depth'",
    "own/fails": "models.py, line 19: KeyError: 'nothing'",
    "own/nothing": "must return a torch.nn.Module, and returns None",
    "own/free depth=7": "models.py, line 11: TypeError: tiny() got an unexpected keyword argument 'depth'",
    "own/wide": "for 2 images it gives (2, 4) and not (2, 3)",
}

CODE = """
import sys
from pathlib import Path
from formwork import own
from formwork.errors import FormworkError
from formwork.params import Params
from formwork.models.build import build_model
from formwork.training.geometry import check_params

own.use(Path(sys.argv[1]))
for case in sys.argv[2:]:
    name, *options = case.split()
    model = {"name": name, "options": {key: int(value) for key, _, value in (o.partition("=") for o in options)}}
    params = Params.model_validate({"data": {"name": "d"}, "datasets": {"d": {"resolution": 8}}, "model": model})
    try:
        check_params(params)
        print("made:", type(build_model(params.model, 3, 8)).__name__)
    except FormworkError as error:
        print(error)
"""


def run(repository: Path, *cases: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", CODE, repository, *cases],
        cwd=repository,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_functions_of_the_repository(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository")
    (found,) = run(repository, "own/tiny")
    assert "a function of" in found
    assert "src/own/models.py, and there is no such file. docs/models.md shows one." in found

    (repository / "src/own/models.py").write_text(MODELS)
    for found, expected in zip(run(repository, *CASES), CASES.values(), strict=True):
        assert expected in found

    (repository / "src/own/models.py").write_text("import nowhere\n")
    (found,) = run(repository, "own/tiny")
    assert "models.py, line 1: ModuleNotFoundError: No module named 'nowhere'. Correct it" in found
