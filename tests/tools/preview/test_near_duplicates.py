"""The picture of near duplicates."""

from pathlib import Path

import pytest
from PIL import Image

from formwork.tools.preview.near_duplicates import draw_near_duplicates
from tests.make_images import make_dataset

HEADER = "path,split,class_name,kind,reason,duplicate_of,action\n"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "mine", ["cat"], per_class=30, size=(20, 16))


def findings(raw: Path, lines: list[str]) -> Path:
    path = raw.parent / "findings.csv"
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return path


def test_pairs_of_each_kind_are_drawn_and_others_counted(raw: Path, tmp_path: Path) -> None:
    names = sorted(path.relative_to(raw).as_posix() for path in raw.glob("*/*"))
    lines = [f"{name},train,cat,near duplicate,,{names[0]},kept" for name in names[1:]]
    lines += [f"{names[1]},train,cat,near leakage,,{names[2]},kept", f"{names[1]},train,cat,duplicate,,{names[2]},kept"]

    line = draw_near_duplicates(findings(raw, lines), raw, tmp_path / "near.png")

    assert line == f"17 of 30 images that look like others, beside these: {tmp_path / 'near.png'}"
    with Image.open(tmp_path / "near.png") as picture:
        assert picture.width < 1400 < picture.height * 2


def test_without_pairs_that_can_be_read_there_is_no_picture(raw: Path, tmp_path: Path) -> None:
    picture = tmp_path / "near.png"
    for path in (findings(raw, ["gone.png,train,cat,near duplicate,,gone too.png,kept"]), tmp_path / "no.csv"):
        picture.touch()

        assert draw_near_duplicates(path, raw, picture) is None
        assert not picture.exists()
