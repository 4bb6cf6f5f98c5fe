"""The benchmark at size: its images, what it counts, and its table. Its commands take a minute: `--images 2000`."""

import sys
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.measured_command import Spent, run_measured
from benchmarks.scale import Step, body, make_repository, outputs_of
from benchmarks.scale_images import CHANGED, CLASSES, make_images, replace_images
from formwork.errors import FormworkError
from tests.workspace import snapshot

IMAGES = 1200


def content(raw: Path) -> dict[str, bytes]:
    """By class and file name, whether in tars or not."""
    found = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in raw.rglob("*.jpg")}
    for path in raw.glob("*.tar"):
        with tarfile.open(path) as tar:
            found |= {f"{path.stem}/{member.name}": tar.extractfile(member).read() for member in tar}
    return found


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("layouts")
    for name in ("loose", "tars"):
        make_images(folder / name, IMAGES, name == "tars")
    return folder / "loose", folder / "tars"


def test_both_layouts_hold_the_same_images_and_no_two_alike(layouts: tuple[Path, Path]) -> None:
    loose, tars = map(content, layouts)
    assert loose == tars
    assert len(set(loose.values())) == len(loose) == IMAGES
    assert len({name.split("/")[0] for name in loose}) == CLASSES
    with Image.open(next(layouts[0].rglob("*.jpg"))) as image:
        image.load()
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (40, 40))


def test_one_image_in_a_hundred_is_replaced_spread_out_or_tar_by_tar(layouts: tuple[Path, Path]) -> None:
    loose, tars = layouts
    # DVC looks at times and sizes. With this few, the first image of each class counts as its hundredth.
    for raw, expected, files_changed in ((loose, CLASSES, CLASSES), (tars, IMAGES // CHANGED, CLASSES // CHANGED)):
        before, files, times = content(raw), snapshot(raw), {path.stat().st_mtime for path in raw.rglob("*.*")}
        replace_images(raw, IMAGES, raw == tars)
        after = content(raw)
        assert after.keys() == before.keys()
        assert sum(before[name] != after[name] for name in before) == pytest.approx(expected, abs=10)
        assert sum(files[name] != digest for name, digest in snapshot(raw).items()) == files_changed
        assert sum(path.stat().st_mtime not in times for path in raw.rglob("*.*")) == files_changed


def test_what_a_command_costs_counts_all_that_it_starts(tmp_path: Path) -> None:
    busy = "sum(range(10**7)); open('file', 'wb').write(bytes(10**7))"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {busy!r}]); print('said')"
    spent, said = run_measured([sys.executable, "-W", "ignore", "-c", code], tmp_path)  # which does not wait for it
    assert said == "said\n"
    assert spent.written_bytes >= 10**7
    assert spent.cpu_seconds > 0.05
    assert spent.seconds > 0
    with pytest.raises(FormworkError, match=r"(?s)exited with 3:.*no luck"):
        run_measured([sys.executable, "-c", "import sys; print('no luck', file=sys.stderr); sys.exit(3)"], tmp_path)


def test_stages_without_training_have_the_outputs_of_dvc_yaml(tmp_path: Path) -> None:
    assert "models/best.pt" in outputs_of("train")
    assert "results/train/plots/curve.tsv" in outputs_of("train")
    assert "results/evaluate/predictions.parquet" in outputs_of("evaluate")
    environment = make_repository(tmp_path / "repository")
    run_measured([sys.executable, "src/train.py"], tmp_path / "repository", environment)
    assert all((tmp_path / "repository" / name).is_file() for name in outputs_of("train"))


def test_the_table_has_the_most_images_and_what_a_million_more_cost() -> None:
    def steps(factor: int) -> list[Step]:
        load = {"opened": 1.0, "first": 2.0, "epoch_rate": 5000.0, "loader": "ffcv"}
        return [
            Step("add", Spent(factor, 2.0 * factor, 10**8 * factor, 0, 10**6), {}),
            Step("load", Spent(1, 1, 1, 1, 1), load),
        ]

    text = body({500_000: steps(1), 1_000_000: steps(2)})
    assert "| add | 2.0 | 4.0 | 200 | 0 | 1 | 4 | 200 |" in text
    assert text.startswith("1,000,000 images in 1,000 classes.")
    assert "2.0 s to the first batch" in text
    assert "a million more" not in body({500_000: steps(1)})
