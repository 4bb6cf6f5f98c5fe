"""Looking into charts."""

import re
from pathlib import Path


def texts(path: Path) -> list[str]:
    """The lines that are written in an SVG: matplotlib draws the letters, and says in comments which."""
    found = re.findall(r"<!-- (.*?) -->", path.read_text(encoding="utf-8"), re.DOTALL)
    return [line for text in found for line in text.split("\n")]
