"""`src/compare.py` on real git and DVC: what it runs, what it reuses, and what it leaves alone.

The training takes no time (see conftest.py), but for one test that goes through with real ones.
"""

import json
import os
import re
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from formwork.errors import FormworkError
from formwork.system import machine, machine_id
from formwork.tools.compare.plans import Installation
from formwork.yaml import parse_yaml
from tests.make_images import make_dataset
from tests.processes import TIMEOUT, wait_for
from tests.tools.compare.conftest import Quick, make_run
from tests.training.conftest import make_params
from tests.workspace import BIN, Workspace, snapshot

RESULTS = {f"results/compare/compare.{kind}" for kind in ("json", "md", "svg")}
PLACE = ".dvc/tmp/compare"


def report(repo: Workspace) -> dict:
    return json.loads((repo / "results/compare/compare.json").read_text())


def files(repo: Workspace) -> dict[str, str]:
    """All that is the user's: without what git, DVC and Python keep for themselves, and without this tool's results."""
    ours = (".git/", ".dvc/tmp/", "results/compare/")
    return {
        name: digest
        for name, digest in snapshot(repo.path).items()
        if not name.startswith(ours) and "__pycache__" not in name and not name.startswith(".dvc/cache/")
    }


def times(repo: Workspace) -> dict[str, int]:
    """When each file was changed last."""
    return {name: (repo / name).lstat().st_mtime_ns for name in files(repo)}


def test_what_is_missing_is_run_and_then_everything_is_reused(quick: Quick):
    """The workspace's own run is that of FFCV. Edits and new files are not even written to, and count: the experiment
    has them. No copy, queue or log is left."""
    (quick / "src/fetch.py").write_text((quick / "src/fetch.py").read_text() + "# an edit\n")
    (quick / "data/raw/shapes/.note").write_text("a file that is no image")
    quick.dvc("add data/raw/shapes")
    quick.dvc("repro convert")
    (quick / "notes.txt").write_text("new")
    before, changes, written = files(quick), quick.changes(), times(quick)

    output = quick.compare()
    assert "ffcv, seed 0: the workspace is reused" in output
    assert quick.trainings == ["pytorch 0"]
    assert (files(quick), times(quick)) == (before, written)
    assert quick.changes() == changes | RESULTS
    assert quick.git("stash list") == ""
    assert not (quick / PLACE).exists()
    assert not (quick / ".dvc/tmp/exps").exists()
    (name,) = quick.experiments
    assert quick.git(f"show {ref(quick, name)}:src/fetch.py").endswith("# an edit\n")
    assert [(run["asked_for"], run["source"]) for run in report(quick)["runs"]] == [
        ("ffcv", "the workspace"),
        ("pytorch", f"experiment {name}"),
    ]
    first = snapshot(quick / "results/compare")

    output = quick.compare()
    assert f"pytorch, seed 0: experiment {name} is reused" in output
    assert quick.trainings == ["pytorch 0"]
    assert quick.experiments == {name}
    assert snapshot(quick / "results/compare") == first


def ref(repo: Workspace, name: str) -> str:
    refs = repo.git("for-each-ref --format='%(refname)' refs/exps").splitlines()
    return next(ref for ref in refs if ref.endswith(f"/{name}"))


def test_repeats_are_measurements_of_their_own_and_seeds_other_runs(quick: Quick):
    quick.compare(repeat=2)
    assert quick.trainings == ["ffcv 0", "pytorch 0", "pytorch 0"]
    runs = report(quick)["runs"]
    assert [run["asked_for"] for run in runs] == ["ffcv", "ffcv", "pytorch", "pytorch"]
    assert len({run["identity"] for run in runs}) == 4
    assert {run["accuracy"] for run in runs} == {0.5}
    assert "FFCV, 2 runs" in (quick / "results/compare/compare.md").read_text()
    assert "0 experiments to be run" in quick.compare(repeat=2, dry_run=True)

    output = quick.compare(seeds=2, dry_run=True)
    assert output.endswith(
        "  dvc exp run -S data.use_ffcv=true -S seed=1\n  dvc exp run -S data.use_ffcv=false -S seed=1\n"
    )


def test_other_params_or_code_are_other_runs(quick: Quick):
    quick.set_params(data__num_workers=1)
    assert "2 experiments to be run" in quick.compare(dry_run=True)
    quick.set_params(data__num_workers=0)
    assert "1 experiment to be run" in quick.compare(dry_run=True)
    (quick / "src/formwork/models/build.py").write_text("# other code\n")
    assert "2 experiments to be run" in quick.compare(dry_run=True)
    assert quick.trainings == []
    assert not (quick / "results/compare").exists()


def run_and_take_back(quick: Quick, **env: str) -> None:
    """A run with the PyTorch loader that is in DVC's run cache, but in no commit, experiment or workspace any more."""
    quick.set_params(data__use_ffcv=False)
    Workspace(quick.path, quick.env | env).dvc("repro --single-item train evaluate")
    quick.git("checkout -- .")


def test_each_case_differs_from_the_workspace_in_its_own_settings_alone(quick: Quick):
    """Also after one that changes the data, which are converted in the copy; and each is found again."""
    cases = ("model.name=rcnn", "ffcv.beton.jpeg_quality=50", "train.lr=0.1,model.name=rcnn")
    before = files(quick)
    output = quick.compare(*cases)
    assert quick.trainings == ["ffcv 0 rcnn", "ffcv 0", "ffcv 0 rcnn"]
    assert files(quick) == before
    runs = report(quick)["runs"]
    assert [run["case"] for run in runs] == [
        "model.name=rcnn",
        "ffcv.beton.jpeg_quality=50",
        "train.lr=0.1, model.name=rcnn",
    ]
    original = parse_yaml((quick / "params.yaml").read_bytes(), "params.yaml")
    for run, changed in zip(runs, ({"model"}, {"ffcv"}, {"model", "train"}), strict=True):
        name = run["source"].removeprefix("experiment ")
        params = parse_yaml(quick.git(f"show {ref(quick, name)}:params.yaml").encode(), name)
        assert {section for section in params if params[section] != original[section]} == changed
        betons = re.search(r"train.beton\n *hash: md5\n *md5: (\w+)", quick.git(f"show {ref(quick, name)}:dvc.lock"))[1]
        same = betons in (quick / "dvc.lock").read_text()
        assert same == ("ffcv" not in changed)
    assert "is left out of the paired tests" in output  # these trainings predict nothing

    again = quick.compare(*cases)
    assert again.count(" is reused") == 3
    assert len(quick.trainings) == 3


def test_runs_of_another_machine_count_for_accuracy_and_not_for_seconds(quick: Quick):
    there = Workspace(quick.path, quick.env | {"MACHINE_ID": "0badcafe"})
    there.dvc("exp run --name theirs -S model.name=rcnn")
    quick.git("checkout -- .")
    before = len(quick.trainings)
    output = quick.compare("model.name=rcnn")
    assert (
        "model.name=rcnn, seed 0: experiment theirs is reused, but for its seconds: it was measured on another"
        in output
    )
    assert len(quick.trainings) == before
    assert "1 run of 2 was measured on another machine" in output
    summary = report(quick)["summary"]
    assert summary["model.name=rcnn"]["accuracy"] == {"median": 0.5, "low": 0.5, "high": 0.5}
    assert summary["model.name=rcnn"]["seconds"] is None
    assert summary["params.yaml"]["seconds"] is not None


def test_what_dvc_has_in_its_cache_is_taken_from_there(quick: Quick):
    run_and_take_back(quick)
    assert "DVC had it in its cache\n" in quick.compare()
    assert quick.trainings == ["pytorch 0"]


def test_runs_of_another_machine_are_not_reused(quick: Quick):
    """Also not where it is called the same."""
    run_and_take_back(quick, MACHINE_ID="0badcafe")
    reason = f"it was measured on another machine, {quick.env['MACHINE']} (machine 0badcafe)"
    assert f"DVC had it in its cache, but {reason}: it is run again\n" in quick.compare()
    assert quick.trainings == ["pytorch 0", "pytorch 0"]
    assert {run["machine"] for run in report(quick)["runs"]} == {quick.env["MACHINE"]}
    assert len({run["machine_id"] for run in report(quick)["runs"]}) == 1


def test_a_machine_with_fewer_cores_is_another_one():
    """A container, or `taskset`: the id is the same."""
    installation = Installation(make_params())
    here = make_run(machine=machine(), machine_id=machine_id())
    assert installation.measured(here)
    assert not installation.measured(replace(here, machine="CPU, cores 9"))


def test_a_clone_on_another_machine_puts_no_committed_figure_beside_its_own(quick: Quick, tmp_path: Path):
    """Another machine of the same kind: only what identifies it differs, here the secret of its user."""
    theirs = quick.clone(tmp_path / "theirs")
    env = quick.env | {"XDG_STATE_HOME": str(tmp_path / "state")}
    clone = Quick(theirs.path, env | {"TRAININGS": str(tmp_path / "theirs.log")})
    (clone / ".dvc/cache").symlink_to(quick / ".dvc/cache")
    clone.dvc("checkout")

    output = clone.compare()
    assert "the workspace is not reused: it was measured on another machine" in output
    assert sorted(clone.trainings) == ["ffcv 0", "pytorch 0"]
    found = report(clone)
    assert found["conversion_seconds"] is None
    assert "The conversion was measured on another machine, and is left out." in output

    before = len(clone.trainings)
    clone.dvc("repro --force convert")
    assert "The conversion was" not in clone.compare()
    assert len(clone.trainings) == before
    assert report(clone)["conversion_seconds"].keys() == {"train", "val"}


def test_metrics_that_were_edited_are_not_the_run_s(quick: Quick):
    """The commit has those of the run."""
    path = quick / "results/speed/metrics.json"
    path.write_text(path.read_text().replace('"seconds": 1', '"seconds": 0'))
    output = quick.compare(dry_run=True)
    assert re.search(r"ffcv, seed 0: commit \w+ is reused", output)
    assert "the workspace is" not in output


def test_a_fallback_is_marked_with_its_reason_and_reused_as_long_as_that_holds(quick: Quick, uncompiled, monkeypatch):
    quick.set_params(augment__train=[{"RandomResizedCrop": {}}, uncompiled])
    for _ in range(2):
        output = quick.compare(LOADER="train: pytorch, val: ffcv")
        assert "FFCV fell back in 1 of 1 runs that asked for it (loader: `train: pytorch, val: ffcv`)" in output
        assert "augment.train: Uncompiled: " in output
        assert report(quick)["summary"].keys() == {"FFCV fell back", "PyTorch"}
        assert report(quick)["pays_off_after_epochs"] is None
        assert quick.trainings == ["ffcv 0", "pytorch 0"]

    monkeypatch.setattr(Installation, "ffcv_fault", None)
    output = quick.compare(dry_run=True)
    assert re.search(r"ffcv, seed 0: experiment \S+ is not reused: FFCV could not load then, and can now", output)
    assert "1 experiment to be run" in output


def test_a_dataset_that_is_a_symlink(quick: Quick):
    mount = quick.path.parent / "mount"
    make_dataset(mount, per_class=30)
    (quick / "data/raw/linked").symlink_to(mount)
    quick.set_params(data__name="linked")
    quick.dvc("repro")
    before = snapshot(mount)
    quick.compare()
    assert quick.trainings == ["ffcv 0", "pytorch 0"]
    assert snapshot(mount) == before
    quick.compare()
    assert len(quick.trainings) == 2


def test_an_experiment_that_fails_shows_why_and_leaves_its_output(quick: Quick):
    with pytest.raises(FormworkError, match="ERROR: no such thing") as failed:
        quick.compare(FAIL="ERROR: no such thing")
    log = Path(re.search(r"`less -R (.+)`", str(failed.value))[1])
    assert "Running stage 'train'" in log.read_text()
    assert not [path for path in (quick / PLACE).iterdir() if path.suffix != ".log"]
    assert quick.experiments == set()
    assert quick.changes() == set()


def test_an_interruption_leaves_nothing(quick: Quick, tmp_path: Path):
    """Meanwhile no other comparison can start."""
    before, started = files(quick), tmp_path / "started"
    process = subprocess.Popen(
        [BIN / "python", "src/compare.py"],
        cwd=quick.path,
        env=quick.env | {"WAIT": str(started)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert wait_for(lambda: started.exists() or process.poll() is not None)
    assert process.poll() is None
    with pytest.raises(FormworkError, match="Another `make compare` is running in this workspace"):
        quick.compare()
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert not (quick / PLACE).exists()
    assert quick.experiments == set()
    assert files(quick) == before


def test_mistakes_are_told_before_any_work(quick: Quick, tmp_path: Path):
    def refused() -> str:
        with pytest.raises(FormworkError) as refused:
            quick.compare()
        return str(refused.value)

    cache = quick / ".dvc/cache/files"
    cache.rename(tmp_path / "files")
    assert "convert@val: changed outs: data/processed/shapes/val.beton not in cache\n" in refused()
    (tmp_path / "files").rename(cache)

    (quick / "data/raw/shapes/a/000.png").unlink()
    assert refused().startswith("The data is not up to date:\n")
    assert "  link: changed deps: data/raw/shapes modified\n" in refused()
    assert refused().endswith("\nRun `dvc repro convert weights` first.")

    quick.set_params(data__name="nothing")
    assert refused().startswith("data/raw/nothing is missing")
    quick.set_params(data__name="shapes")

    (quick / ".git").rename(tmp_path / "git")
    assert "is in no git repository. DVC keeps experiments in git" in refused()
    quick.git("init --quiet")
    assert "has no commit. DVC keeps experiments in git" in refused()
    (quick / ".git/HEAD").parent.rename(tmp_path / "empty")
    (tmp_path / "git").rename(quick / ".git")
    (quick / ".dvc").rename(quick / "dvc")
    assert "is not the root of the repository" in refused()
    assert quick.trainings == []


def test_a_real_training(repo: Workspace):
    """With the PyTorch loader, beside the one with FFCV that the workspace has; the second time, there is none."""
    for again in (False, True):
        output = repo.run(BIN / "python", "src/compare.py").output
        assert output.count(" is reused") == 1 + again
        ffcv, pytorch = report(repo)["runs"]
        assert (ffcv["loader"], ffcv["source"]) == ("ffcv", "the workspace")
        assert pytorch["loader"] == "pytorch"
        assert ffcv["accuracy"] == pytorch["accuracy"]
        assert all(run["first_batch_seconds"] > 0 and run["peak_memory_mb"] > 50 for run in (ffcv, pytorch))
        assert re.search(r"\nimages/s +\d", output)
    assert repo.changes() == RESULTS

    output = repo.run(BIN / "python", "src/compare.py", "-S", "train.lr=0.1").output
    verdicts = report(repo)["differences"]
    assert [(one["split"], one["first"], one["second"]) for one in verdicts] == [
        ("val", "params.yaml", "train.lr=0.1"),
        ("test", "params.yaml", "train.lr=0.1"),
    ]
    first, second = report(repo)["runs"]
    assert verdicts[0]["scores"] == pytest.approx([first["accuracy"], second["accuracy"]])
    assert verdicts[1]["scores"] == pytest.approx([first["test_accuracy"], second["test_accuracy"]])
    assert verdicts[0]["only_second_right"] - verdicts[0]["only_first_right"] == pytest.approx(
        verdicts[0]["difference"] * verdicts[0]["images"]
    )
    assert f"\nOn {verdicts[1]['images']} test images, train.lr=0.1 " in output
