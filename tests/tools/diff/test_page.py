"""A change of real images, through the pipeline, as a page with pictures."""

import json
import re
import shutil

from formwork.tools.thumbnails import thumbnail
from tests.make_images import make_dataset
from tests.tools.report.test_report import is_self_contained


def test_a_page_shows_what_changed_and_what_was_there_before(repo, tmp_path):
    raw = repo / "data/raw/shapes"
    new = make_dataset(tmp_path / "new", classes=("d",), per_class=2, size=(300, 200), format="JPEG", seed=9)
    (raw / "a/000.png").unlink()
    shutil.copy(new / "d/000.jpeg", raw / "b/000.png")
    (raw / "c/000.png").rename(raw / "a/c000.png")
    (raw / "d").mkdir()
    shutil.copy(new / "d/001.jpeg", raw / "d")
    repo.dvc("add --quiet data/raw/shapes")
    assert "nothing changed" in repo.run("python", "src/diff.py").output
    assert "was added to DVC after `link` ran" in repo.run("python", "src/diff.py").output
    repo.dvc("repro link")

    output = repo.run("python", "src/diff.py", "--json", "--html", "page.html").output
    found = json.loads(output[output.index("{") : output.rindex("}") + 1])
    expected = {"added": 1, "removed": 1, "replaced": 1, "relabelled": 1}
    assert {kind: found[kind] for kind in expected} == expected
    assert found["by_class"]["b"]["replaced"] == found["by_class"]["a"]["relabelled"] == 1
    page = (repo / "page.html").read_text()
    assert is_self_contained(page)
    assert page.count("<img ") == 5 + found["moved"] + found["renamed"]
    assert "not here" not in page
    assert re.search(r"<span>c → a</span>", page)
    assert found["predictions"]["flipped"] == 0  # it is the same model
    assert "0 flipped (0.0%)" in page

    shutil.rmtree(repo / ".dvc/cache")
    repo.run("python", "src/diff.py", "--fetch", "--html", "page.html")
    assert (repo / "page.html").read_text().count("not here") == 2  # the removed one, and the replaced one before


def test_what_is_no_picture_has_none():
    assert thumbnail(b"") is None
    assert thumbnail(b"no image") is None
