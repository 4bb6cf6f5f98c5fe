"""A table of labels in the pipeline: what a changed label runs again, and what it does not."""

from pathlib import Path

from tests.make_images import make_dataset
from tests.workspace import Workspace


def test_a_changed_label_runs_link_and_train_and_converts_nothing(repo: Workspace) -> None:
    raw = repo / "data/raw/tabled"
    make_dataset(raw, ["images"], per_class=40, size=(8, 8))
    write_labels(raw, changed=False)
    repo.dvc("add data/raw/tabled")
    repo.set_params(data__name="tabled")
    repo.dvc("repro")
    betons = {split: (repo / f"data/processed/tabled/{split}.beton").stat().st_mtime_ns for split in ("train", "val")}

    write_labels(raw, changed=True)
    ran = repo.dvc("repro").ran

    assert ran == ["link", "train", "evaluate"]
    for split, path in (("val", "images/000.png"), ("train", "images/002.png")):
        (row,) = (
            line
            for line in (repo / f"data/interim/tabled/{split}.csv").read_text().splitlines()
            if line.startswith(path)
        )
        assert row.endswith(",dog,1")
    for split, changed_at in betons.items():
        assert (repo / f"data/processed/tabled/{split}.beton").stat().st_mtime_ns == changed_at


def write_labels(raw: Path, changed: bool) -> None:
    """Two classes, three of four images in train; `changed`: one image of each split has the other label."""
    rows = [[f"images/{i:03}.png", "dog" if i % 2 else "cat", "train" if i % 4 else "val"] for i in range(40)]
    if changed:
        rows[0][1] = rows[2][1] = "dog"
    (raw / "labels.csv").write_text("path,label,split\n" + "".join(f"{','.join(row)}\n" for row in rows))
