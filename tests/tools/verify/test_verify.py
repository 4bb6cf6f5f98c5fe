"""`src/verify.py` on real git and DVC: what it says of a commit that is reproduced, and of one that is not.

The training takes no time (see tests/tools/compare/conftest.py).
"""

import json

import pytest

from formwork.errors import FormworkError
from formwork.tools.verify.certificate import Certificate, Out, check
from tests.tools.compare.conftest import Quick, quick, quick_base
from tests.workspace import BIN, Workspace, snapshot

__all__ = ["quick", "quick_base"]
PLACE = ".dvc/tmp/verify"
RESULTS = {"results/verify/certificate.json", "results/verify/certificate.md"}


def certificate(repo: Workspace) -> dict:
    return json.loads((repo / "results/verify/certificate.json").read_text())


def verdicts(repo: Workspace) -> dict[str, str]:
    return {out["path"]: out["verdict"] for out in certificate(repo)["outs"]}


def files(repo: Workspace) -> dict[str, str]:
    ours = (".git/", ".dvc/", "results/verify/")
    return {
        path: digest
        for path, digest in snapshot(repo.path).items()
        if not path.startswith(ours) and "__pycache__" not in path
    }


def verify(repo: Workspace, *arguments: str, status: int = 0) -> str:
    return repo.run(BIN / "python", "src/verify.py", *arguments, status=status).output


def test_a_commit_is_reproduced_certified_and_found_to_differ(quick: Quick):
    """First all is the same; then the training is one that gives something else each time."""
    (quick / "notes.txt").write_text("not committed")
    before = files(quick)
    output = verify(quick)
    assert "not the uncommitted changes of 1 file: notes.txt" in output
    assert "Raw images: from DVC's cache." in output
    assert files(quick) == before
    assert quick.changes() == {"notes.txt", *RESULTS}
    assert not (quick / PLACE).exists()
    found = verdicts(quick)
    assert {path for path, verdict in found.items() if verdict == "wall-clock"} == {
        path for path in found if path.startswith("results/speed/")
    }
    assert {"models/best.pt", "data/processed/shapes/train.beton", "results/evaluate/metrics.json"} < found.keys()
    assert "differs" not in found.values()
    about = certificate(quick)
    assert about["is_reproduced"]
    assert about["here"] == about["there"]
    assert {"machine id", "system", "Python", "torch", "numpy", "ffcv"} < about["here"].keys()
    page = (quick / "results/verify/certificate.md").read_text()
    assert "the same as in dvc.lock, byte for byte" in page
    assert "| `models/best.pt` | train | same | made |" in page

    quick.commit("Certify")
    assert "byte for byte" in verify(quick, "--check")
    params = (quick / "params.yaml").read_text()
    (quick / "params.yaml").write_text(params.replace("seed: 0", "seed: 1"))
    assert "params.yaml has uncommitted changes" in verify(quick, "--check", status=1)
    (quick / "params.yaml").write_text(params)

    train = (quick / "src/train.py").read_text()
    noisy = train.replace('json.dumps({"loader": asked})', 'json.dumps({"loader": asked, "noise": time.time_ns()})')
    (quick / "src/train.py").write_text(noisy)
    quick.dvc("repro")
    quick.commit("Train otherwise each time")
    assert "from which HEAD differs in dvc.lock, src/train.py" in verify(quick, "--check", status=1)

    output = verify(quick, status=1)
    assert "Commit " in output
    assert "was not reproduced" in output
    differing = [out for out in certificate(quick)["outs"] if out["verdict"] == "differs"]
    assert [out["path"] for out in differing] == ["results/train/metrics.json"]
    (line,) = differing[0]["details"]
    assert line.startswith("noise: ")
    assert "1 of " in verify(quick, "--check", status=1)

    failing = Workspace(quick.path, quick.env | {"FAIL": "ERROR: no such thing"})
    output = verify(failing, status=1)
    assert "ERROR: no such thing" in output
    assert "`less -R " in output
    assert [path.name for path in sorted((quick / PLACE).iterdir())] == ["data.log", "repro.log"]


def make(**changes: object) -> Certificate:
    outs = [Out("train", "models/best.pt", "same"), Out("train", "results/speed/metrics.json", "wall-clock")]
    values: dict = {"commit": "1" * 40, "of": {}, "lock": [], "here": {"torch": "2"}, "there": {}, "outs": outs}
    return Certificate(**values | changes)


def test_a_verdict_is_one_sentence():
    assert make().verdict == (
        "All 1 output are the same as in dvc.lock, byte for byte; 1 output of wall-clock figures are not compared."
    )
    other = Out("train", "models/best.pt", "differs", details=["a | b"] * 30)
    page = make(outs=[other]).markdown()
    assert "**1 of 1 output differ from dvc.lock.**" in page
    assert page.count("- a | b") == 20
    assert "- and 10 more" in page
    stale = make(lock=["seed of train"])
    assert not stale.is_reproduced
    assert "but dvc.lock is of other inputs: seed of train" in stale.verdict


@pytest.mark.parametrize("content", [None, "{", "[]", '{"commit": 1}', '{"outs": [{"x": 1}], "commit": "", "of": {}}'])
def test_a_certificate_that_is_none_is_told(tmp_path, content):
    if content is not None:
        (tmp_path / "certificate.json").write_text(content)
    with pytest.raises(FormworkError, match=r"certificate.json is .*Run `make verify`"):
        check(tmp_path, tmp_path)
