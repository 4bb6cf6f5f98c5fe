"""A table of labels in the pipeline: what a changed label runs again, and what it does not."""

from pathlib import Path

from tests.make_images import make_dataset
from tests.tools.compare.conftest import Quick, quick, quick_base

__all__ = ["quick", "quick_base"]  # fixtures


def test_a_changed_label_runs_link_and_train_and_converts_nothing(quick: Quick) -> None:
    raw = quick / "data/raw/tabled"
    make_dataset(raw, ["images"], per_class=40, size=(8, 8))
    write_labels(raw, changed=False)
    quick.dvc("add data/raw/tabled")
    quick.set_params(data__name="tabled")
    quick.dvc("repro")
    betons = {split: (quick / f"data/processed/tabled/{split}.beton").stat().st_mtime_ns for split in ("train", "val")}

    write_labels(raw, changed=True)
    ran = quick.dvc("repro").ran

    assert ran == ["link", "train", "evaluate"]
    for split, path in (("val", "images/000.png"), ("train", "images/002.png")):
        (row,) = (
            line
            for line in (quick / f"data/interim/tabled/{split}.csv").read_text().splitlines()
            if line.startswith(path)
        )
        assert row.endswith(",dog,1")
    for split, changed_at in betons.items():
        assert (quick / f"data/processed/tabled/{split}.beton").stat().st_mtime_ns == changed_at


def write_labels(raw: Path, changed: bool) -> None:
    """Two classes, three of four images in train; `changed`: one image of each split has the other label."""
    rows = [[f"images/{i:03}.png", "dog" if i % 2 else "cat", "train" if i % 4 else "val"] for i in range(40)]
    if changed:
        rows[0][1] = rows[2][1] = "dog"
    (raw / "labels.csv").write_text("path,label,split\n" + "".join(f"{','.join(row)}\n" for row in rows))
