"""The page in a browser: no errors, no missing pictures, and nothing that sticks out, on a phone and on a desktop."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from formwork.tools.report.page import (
    Code,
    Figure,
    Gallery,
    Missing,
    Picture,
    Section,
    Table,
    Text,
    data_uri,
    markdown,
    render,
)
from tests.processes import TIMEOUT
from tests.tools.report.test_report import PIXEL

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Nothing that a browser does beside showing a page: it must not look for a network.
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
# A frame of the width of a device around the page, and after a while what is wrong in it.
FRAME = """<!doctype html><body><iframe id="device" style="width: {width}px; height: 800px" srcdoc="{page}"></iframe>
<pre id="found"></pre><script>
device.contentWindow.onerror = message => errors.push(message);
var errors = [];
window.onload = () => {{
  const inside = device.contentDocument, wide = [];
  for (const element of inside.querySelectorAll("body *"))
    if (!element.closest(".wide, pre") && element.getBoundingClientRect().right > {width})
      wide.push(element.outerHTML.slice(0, 80));
  found.textContent = JSON.stringify({{
    scrolls: inside.documentElement.scrollWidth > inside.documentElement.clientWidth,
    wide, errors,
    broken: [...inside.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.alt),
    pictures: inside.images.length,
    without_text: [...inside.images].filter(i => !i.alt).length,
  }});
}};</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here; .ci/run installs it")


def look_at(page: str, width: int, folder: Path) -> dict:
    """What is wrong with a page on a screen of this width, in CSS pixels."""
    path = folder / "frame.html"
    path.write_text(FRAME.format(width=width, page=html.escape(page, quote=True)))
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr"]
    command += ["--virtual-time-budget=5000", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    found = json.loads(html.unescape(re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)[1]))
    return found | {"console": re.findall(r"CONSOLE.*", done.stderr)}


@pytest.mark.parametrize("width", [360, 390, 1280])
def test_any_content_fits_the_screen(tmp_path, width):
    (tmp_path / "wide.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="3000" height="40"/>')
    (tmp_path / "small.png").write_bytes(PIXEL)
    many = [f"column {number}" for number in range(30)]
    parts = [
        Text("word " * 100 + "x" * 500),
        Missing("y" * 300, "dvc " + "z" * 300),
        Table(many, [many] * 3),
        Picture.of(tmp_path / "wide.svg", "wide"),
        Picture.of(tmp_path / "small.png", "small"),
        Gallery([Figure([data_uri(tmp_path / "small.png"), None], ["p" * 200, "a path " * 20])] * 5),
        Code("folded", "long line " * 100),
        markdown(f"| {' | '.join(many)} |\n|{' --- |' * 30}\n| {' | '.join(many)} |\n\n`{'c' * 400}`\n", tmp_path),
    ]
    found = look_at(render("t" * 200, "now", [Section("One", parts), Section("Two", parts)]), width, tmp_path)
    assert found.pop("pictures") == 2 * (2 + 5)
    assert found == {"scrolls": False, "wide": [], "errors": [], "broken": [], "without_text": 0, "console": []}


def test_a_broken_picture_is_seen(tmp_path):
    found = look_at(
        render("t", "now", [Section("A", [Picture("data:image/png;base64,AAAA", "broken one")])]), 390, tmp_path
    )
    assert found["broken"] == ["broken one"]


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_of_a_real_run(repo, tmp_path_factory, width):
    repo.run("python", "src/report.py", "results/report.html")
    found = look_at((repo / "results/report.html").read_text(), width, tmp_path_factory.mktemp("browser"))
    assert found.pop("pictures") >= 6
    assert found == {"scrolls": False, "wide": [], "errors": [], "broken": [], "without_text": 0, "console": []}
