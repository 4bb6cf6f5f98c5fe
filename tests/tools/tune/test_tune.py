"""The tool as a whole: what it writes, what it advises, and what it says when it cannot."""

import fcntl
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from formwork.datasets.link import link
from formwork.errors import FormworkError
from formwork.folders import Folders
from formwork.params import Params
from formwork.tools.tune import speed, trial
from formwork.tools.tune.grid import FREE_SHARE, Grid, Request
from formwork.tools.tune.pick import command
from formwork.tools.tune.tune import tune
from formwork.yaml import read_yaml
from tests.make_images import make_dataset
from tests.processes import TIMEOUT
from tests.workspace import ROOT, Workspace

PARAMS = {"data": {"name": "mixed", "batch_size": 16, "num_workers": 1}, "datasets": {"mixed": {"resolution": 24}}}
MANY = Request(images=40, budget=10**9, rounds=1, grid=Grid(resolutions=[None, 32], qualities=[60, 90]))
QUICK = replace(MANY, grid=Grid(["jpg", "raw"], [32], [60]))


@pytest.fixture(scope="session")
def linked(tmp_path_factory) -> Path:
    """A project with 100 JPEGs and PNGs of 40 x 30 and 20 x 30, without betons."""
    root = tmp_path_factory.mktemp("tune")
    make_dataset(root / "data/raw/mixed", ("a", "b"), 25, [(40, 30), (20, 30)], "JPEG", content="noise")
    make_dataset(root / "data/raw/mixed", ("c", "d"), 25, [(40, 30), (20, 30)], content="noise")
    folders = folders_of(root)
    link(Params.model_validate(PARAMS), folders.raw, folders.interim, root / "bad.csv")
    return root


def folders_of(root: Path) -> Folders:
    return Folders(*(root / "data" / kind / "mixed" for kind in ("raw", "interim", "processed")))


@pytest.fixture
def project(linked, tmp_path, monkeypatch) -> Path:
    """A copy to work in, with speeds that are measured fast and not well."""
    monkeypatch.setattr(speed, "SECONDS", 0)
    shutil.copytree(linked / "data", tmp_path / "data", symlinks=True)
    return tmp_path


def go(project: Path, request: Request = QUICK, **sections) -> dict:
    params = Params.model_validate(PARAMS | sections)
    tune(params, folders_of(project), project / "results", request)
    return json.loads((project / "results/tune.json").read_text())


def test_what_it_finds(project, capsys):
    found = go(project, MANY, ffcv={"beton": {"write_mode": "jpg"}})  # which is not true enough to be picked
    assert found["images"] == {"sample": 40, "total": 100, "seed": 0}
    settings = found["settings"]
    assert [one["bytes"] for one in settings] == sorted(one["bytes"] for one in settings)
    keys = [
        {
            (p["write_mode"], p["max_resolution"], p["jpeg_quality"], p["passthrough"])
            for p in [one["params"], *one["same"]]
        }
        for one in settings
    ]
    assert len(set().union(*keys)) == sum(map(len, keys))  # each stands in one row
    assert sum(map(len, keys)) == 2 * (2 * 2 * 2 + 2 + 1) == 22  # modes with a quality, proportion, raw
    assert ("raw", 32, 90, True) in next(key for key in keys if ("smart", 32, 90, True) in key)
    (exact,) = (one["exact"] for one, key in zip(settings, keys, strict=True) if ("raw", None, 90, True) in key)
    assert exact
    for one in settings:
        assert one["exact"] == (one["psnr"] is None) == (one["worst_psnr"] is None)
        assert one["shares"]["jpg"] + one["shares"]["raw"] == pytest.approx(1)
        assert len(one["images_per_second"]) == 1
    (raw,) = (
        one for one in settings if one["params"]["write_mode"] == "raw" and one["params"]["max_resolution"] is None
    )
    assert raw["bytes"] == pytest.approx(100 * 3 * 30 * 30 + 100 * 100, rel=0.1)

    (picked,) = (one for one in settings if one["pick"])
    assert picked["exact"] or picked["psnr"] >= 35
    line = command(found["pick"]["params"])
    assert line == found["pick"]["command"]
    text = (project / "results/tune.md").read_text()
    assert text.strip() in capsys.readouterr().out
    assert f"\n    {line}\n" in text
    assert re.search(r"^\| \d+ \| .* \*\*pick\*\*", text, re.MULTILINE)
    assert len(re.findall(r"^\| \d+ \| (?:jpg|raw|smart|prop)", text, re.MULTILINE)) == len(settings)
    assert "is within 1 GB, and whose PSNR is at least 35 dB, the fastest" in text
    assert "against the original images, both brought to 24 x 24 pixels as in validation" in text
    Image.open(project / "results/tune.png").verify()
    assert [path.name for path in (project / "data/processed").iterdir()] == []


def test_the_same_images_and_sizes_each_time(project):
    """All but the speeds."""

    def fixed(found: dict) -> list:
        return [{k: v for k, v in one.items() if k not in ("images_per_second", "pick")} for one in found["settings"]]

    first = go(project)
    assert fixed(go(project)) == fixed(first)
    assert fixed(go(project, seed=5)) != fixed(first)


def test_small_pngs_have_few_ways_to_be_stored(tmp_path, monkeypatch):
    """All those that store the pixels as they are, are one."""
    monkeypatch.setattr(speed, "SECONDS", 0)
    make_dataset(tmp_path / "data/raw/mixed", size=(8, 8), per_class=20, content="noise")
    params = Params.model_validate(PARAMS | {"datasets": {"mixed": {"resolution": 8}}})
    link(params, *(tmp_path / "data" / kind / "mixed" for kind in ("raw", "interim")), tmp_path / "bad.csv")
    found = go(tmp_path, Request(budget=10**9, min_psnr=math.inf, rounds=1), datasets={"mixed": {"resolution": 8}})
    modes = [{params["write_mode"] for params in [one["params"], *one["same"]]} for one in found["settings"]]
    assert sorted(map(sorted, modes)) == [["jpg"], ["jpg"], ["jpg"], ["proportion"], ["raw", "smart"]]
    (exact,) = (one for one in found["settings"] if one["exact"])
    assert exact["params"] == Params.model_validate(PARAMS).ffcv.beton.model_dump()  # named as params.yaml has it
    assert exact["pick"]
    assert not any(key.startswith("ffcv.beton") for key in found["pick"]["params"])


def test_a_budget_that_nothing_meets_is_an_error_with_results(project):
    with pytest.raises(FormworkError, match="No setting fits into 1 kB: the smallest, "):
        go(project, replace(QUICK, budget=1000))
    found = json.loads((project / "results/tune.json").read_text())
    assert found["pick"] is None
    assert found["failure"].startswith("No setting fits into 1 kB")
    assert "**Nothing was picked.** No setting fits" in (project / "results/tune.md").read_text()
    assert (project / "results/tune.png").is_file()


def test_without_a_budget_it_is_a_share_of_what_is_free(project):
    free = shutil.disk_usage(project).free
    found = go(project, Request(images=40, rounds=1, min_psnr=math.inf, grid=Grid(["raw"], [None], [90])))
    assert found["budget_bytes"] == pytest.approx(FREE_SHARE * free, rel=0.05)
    text = (project / "results/tune.md").read_text()
    assert re.search(r"The budget is 40% of the \S+ .B that are free where \S+/data/processed is\.", text)
    assert "infinite (all pixels the same)" in text


def test_betons_larger_than_memory_are_read_from_the_disk(project, monkeypatch):
    monkeypatch.setattr(trial, "memory", lambda: (1000, 1000))
    found = go(project)
    assert found["loading"]["order_without_os_cache"].keys() == {"quasi_random", "random"}
    assert found["pick"]["params"]["ffcv.os_cache"] is False
    assert "-S ffcv.os_cache=false" in found["pick"]["command"]
    assert not any(one["fits_into_memory"] for one in found["settings"])
    text = (project / "results/tune.md").read_text()
    assert "do not stay in a memory of 1 kB: `ffcv.os_cache: false` is advised" in text
    assert "| quasi_random | " in text
    assert text.count(" (from the disk) |") == len(found["settings"])


def test_each_setting_is_measured_as_it_would_be_loaded(project, monkeypatch):
    """From memory where its betons fit into it, and without leaving anything there where they do not."""
    seen = []
    real = speed.measure

    def measure(contenders, rounds, what):
        seen.extend((options.os_cache, split.beton.stat().st_size) for split, options in contenders.values())
        return real(contenders, rounds, what)

    monkeypatch.setattr(speed, "measure", measure)
    monkeypatch.setattr(trial, "memory", lambda: (250_000, 250_000))
    found = go(project, ffcv={"os_cache": False})
    assert {os_cache for os_cache, _ in seen} == {True, False}
    assert min(size for cached, size in seen if not cached) > max(size for cached, size in seen if cached)
    assert [one["fits_into_memory"] for one in found["settings"]] == sorted(
        (one["fits_into_memory"] for one in found["settings"]), reverse=True
    )


def test_missing_originals(project):
    raw = folders_of(project).raw
    raw.rename(project / "elsewhere")
    with pytest.raises(FormworkError) as refused:
        go(project)
    assert str(refused.value).startswith(f"40 of the 40 images of the sample are missing, {raw}/")
    assert f"`dvc pull {raw}`" in str(refused.value)
    assert not (project / "data/processed").exists()


def test_missing_manifests(project):
    (folders_of(project).interim / "val.csv").unlink()
    with pytest.raises(FormworkError, match=r"val\.csv is missing\. Run `dvc pull .*`dvc repro link`"):
        go(project)


def test_an_original_that_changed_leaves_nothing_behind(project):
    for path in folders_of(project).raw.rglob("*.png"):
        Image.new("RGB", (40, 30)).save(path)
    with pytest.raises(FormworkError, match="changed after its manifest was made"):
        go(project)
    assert list((project / "data/processed").iterdir()) == []


def test_a_full_disk(project, monkeypatch):
    usage = shutil.disk_usage(project)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(FormworkError) as refused:
        go(project)
    assert re.search(
        r"has 1 kB free, and a beton of the sample may take \d+ kB\. Make room, or take", str(refused.value)
    )
    assert list((project / "data/processed").iterdir()) == []


def test_one_at_a_time_and_what_a_killed_one_left_is_removed(project):
    folder = project / "data/processed/.tune"
    folder.mkdir(parents=True)
    (folder / "3.beton").write_bytes(b"left")
    lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(FormworkError, match=r"Another process is tuning in .*\.tune\. Wait for it"):
        go(project)
    assert (folder / "3.beton").exists()
    os.close(lock)
    go(project)
    assert not folder.exists()


def test_smaller_batches_than_those_of_training_are_said(project):
    """Where the sample has too few images for four batches."""
    go(project)
    assert "batches of 10 (not 16: the sample is small)" in (project / "results/tune.md").read_text()


def test_the_line_works(repo: Workspace):
    """As a user does it: the tool, and what it prints. DVC takes over what it picked."""
    script = "python src/tune.py results/tune --images 40 --rounds 1 --budget 1GB --min-psnr inf"
    output = repo.shell(script).output
    (line,) = re.findall(r"^    (dvc exp run .*)$", output, re.MULTILINE)
    assert "-S ffcv.beton.write_mode=" in line
    assert repo.changes() == {"results/tune/tune.json", "results/tune/tune.md"}
    assert "convert@train" in repo.dvc(f"{shlex.join(shlex.split(line)[1:])} convert").ran
    picked = json.loads((repo / "results/tune/tune.json").read_text())["pick"]["params"]
    params = read_yaml(repo / "params.yaml")
    for key, value in picked.items():
        section = params
        for step in key.split("."):
            section = section[step]
        assert section == value


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--budget 20XB", "'20XB' is no size: write 20GB"),
        ("--images 3", "'3' is no whole number from 20 on"),
        ("--jpeg-quality 90 101", "'101' is no whole number from 1 to 100"),
        ("--max-resolution 0", "'0' is no whole number from 1 to 65500"),
        ("--min-psnr nan", "'nan' is no number"),
    ],
)
def test_options_are_checked(option, said, tmp_path):
    command = [sys.executable, ROOT / "src/tune.py", "results", *shlex.split(option)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 2
    assert said in done.stderr
