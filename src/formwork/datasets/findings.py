"""Whatever is wrong with raw images: its kinds, what becomes of each, the report and its summary on screen."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from formwork.datasets.inspect_file import Bad
from formwork.datasets.scan import Candidate
from formwork.formats import write_csv
from formwork.images.manifest import Row, path_bytes
from formwork.images.pixels import EXTENSIONS

BAD = (
    "unreadable",
    "truncated",
    "zero bytes",
    "not an image",
    "animated",
    "too large",
    "unsupported pixels",
    "broken symlink",
    "no permission",
)
"""The file has no pixels, or none of one meaning: data.on_bad_image decides."""
DUPLICATES = ("label conflict", "leakage", "duplicate")
"""Other files have the same bytes: data.on_duplicate decides."""
NOTES = ("wrong extension",)
"""The pixels are sound, and the image is used."""
SHOWN = 5  # files of a kind named on screen; all of them are in the report
HEADER = ("path", "split", "class_name", "kind", "reason", "duplicate_of", "action")
FORMAT_OF = {extension: name for name, extensions in EXTENSIONS.items() for extension in extensions}
SAME_FORMAT = {"MPO": "JPEG", "DIB": "BMP"}


@dataclass(frozen=True, slots=True)
class Finding:
    """position: among the candidates. kind: see BAD, DUPLICATES, NOTES. duplicate_of: a path with the same bytes.

    redundant: of a duplicate, whether on_duplicate: skip leaves this copy out.
    """

    position: int
    kind: str
    reason: str = ""
    duplicate_of: str = ""
    redundant: bool = False

    def action(self, on_bad_image: str, on_duplicate: str) -> str:
        """ "stopped", "left out" or "kept"."""
        if self.kind in BAD:
            return "stopped" if on_bad_image == "error" else "left out"
        if self.kind in DUPLICATES and on_duplicate == "error":
            return "stopped"
        return "left out" if self.redundant and on_duplicate == "skip" else "kept"


def find(candidates: Sequence[Candidate], rows: Sequence[Row | None], bad: Mapping[int, Bad]) -> list[Finding]:
    """All findings, sorted by path, then kind."""
    found = [Finding(position, b.kind, b.reason) for position, b in bad.items()]
    found += _duplicates(candidates, rows)
    for position, row in enumerate(rows):
        if row is not None and (named := _named_format(row.path)) not in (
            None,
            SAME_FORMAT.get(row.format, row.format),
        ):
            found.append(Finding(position, "wrong extension", f"named as {named}, and is {row.format}"))
    return sorted(found, key=lambda finding: (path_bytes(candidates[finding.position].path), finding.kind))


def _named_format(path: str) -> str | None:
    """The format that a file's extension promises; None where it promises none."""
    name = path.rpartition("/")[2]
    return FORMAT_OF.get(f".{name.rpartition('.')[2].lower()}") if "." in name else None


def _duplicates(candidates: Sequence[Candidate], rows: Sequence[Row | None]) -> list[Finding]:
    groups: dict[str, list[int]] = {}
    first: dict[str, int] = {}  # most files are the only ones of their bytes: no list for each
    for position, row in enumerate(rows):
        if row is not None and (before := first.setdefault(row.sha256, position)) != position:
            groups.setdefault(row.sha256, [before]).append(position)
    return [finding for group in groups.values() for finding in _of_group(candidates, group)]


def _of_group(candidates: Sequence[Candidate], group: Sequence[int]) -> list[Finding]:
    """Of copies with different labels none can be trusted: all are redundant. Otherwise one copy is not: the first in
    val, so that no training image is validated on, or else the first by path."""
    members = sorted(group, key=lambda position: path_bytes(candidates[position].path))
    of = [candidates[position] for position in members]
    if len({c.class_name for c in of}) > 1:
        other = {c.class_name: next(o.path for o in of if o.class_name != c.class_name) for c in of}
        return [
            Finding(position, "label conflict", "the copy is in another class", other[c.class_name], True)
            for position, c in zip(members, of, strict=True)
        ]
    kept = next((i for i, c in enumerate(of) if c.split == "val"), 0)
    found = []
    for i, (position, c) in enumerate(zip(members, of, strict=True)):
        if i != kept:
            leaks = c.split != of[kept].split
            found.append(Finding(position, "leakage" if leaks else "duplicate", "", of[kept].path, True))
    return found


def write_report(
    path: Path, candidates: Sequence[Candidate], found: Sequence[Finding], on_bad_image: str, on_duplicate: str
) -> None:
    """All findings as CSV, one a line."""
    lines = [
        (c.path, c.split, c.class_name, f.kind, f.reason, f.duplicate_of, f.action(on_bad_image, on_duplicate))
        for f in found
        for c in [candidates[f.position]]
    ]
    write_csv(path, [HEADER, *lines])


def summary(candidates: Sequence[Candidate], found: Sequence[Finding], on_bad_image: str, on_duplicate: str) -> str:
    """A table of counts by kind and action, each followed by the first few files."""
    groups: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in found:
        groups[finding.kind, finding.action(on_bad_image, on_duplicate)].append(finding)
    order = {kind: i for i, kind in enumerate((*BAD, *DUPLICATES, *NOTES))}
    lines = []
    for (kind, action), group in sorted(groups.items(), key=lambda item: (order[item[0][0]], item[0][1])):
        lines.append(f"{kind:<18} {len(group):>8}  {action}")
        lines += [f"    {_line(candidates, finding)}" for finding in group[:SHOWN]]
        if len(group) > SHOWN:
            lines.append(f"    ... and {len(group) - SHOWN} more")
    return "\n".join(lines)


def _line(candidates: Sequence[Candidate], finding: Finding) -> str:
    path = candidates[finding.position].path
    if finding.duplicate_of:
        return f"{path} = {finding.duplicate_of}"
    return f"{path}: {finding.reason}"
