"""Findings: all that is wrong with raw images, what is done about each, the report file and its summary on screen."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from formwork.datasets.candidates import Candidate
from formwork.datasets.listing import LEFT_OUT, LeftOut
from formwork.datasets.verify_file import BadFile
from formwork.escapes import cell, printable
from formwork.formats import write_csv
from formwork.images.manifest import path_bytes
from formwork.images.pixels import EXTENSIONS
from formwork.images.row import Row
from formwork.text import count

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
"""Files that cannot be used as images: data.on_bad_image decides."""
DUPLICATES = ("label conflict", "leakage", "duplicate")
"""Files with the same content as others: data.on_duplicate decides."""
NOTES = ("wrong extension",)
"""Oddities of images that are used all the same."""
NAMED = 3  # files named on screen of those that are no candidates
REPORTED = 1000  # of these in the report, for each kind: some systems leave a file for each image
SHOWN = 5  # files named on screen for each kind and action; the report has all
HEADER = ("path", "split", "class_name", "kind", "reason", "duplicate_of", "action")
FORMAT_OF = {extension: name for name, extensions in EXTENSIONS.items() for extension in extensions}
SAME_FORMAT = {"MPO": "JPEG", "DIB": "BMP"}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with one file.

    Attributes:
        position: of the file among the candidates.
        kind: one of BAD, DUPLICATES and NOTES.
        reason: for people; may be empty where the kind says all.
        duplicate_of: path of a file with the same content.
        redundant: whether this is a copy that `on_duplicate: skip` leaves out.
    """

    position: int
    kind: str
    reason: str = ""
    duplicate_of: str = ""
    redundant: bool = False

    def action(self, on_bad_image: str, on_duplicate: str) -> str:
        """What link does with the file: "stopped", "left out" or "kept"."""
        if self.kind in BAD:
            return "stopped" if on_bad_image == "error" else "left out"
        if self.kind in DUPLICATES and on_duplicate == "error":
            return "stopped"
        return "left out" if self.redundant and on_duplicate == "skip" else "kept"


def collect_findings(
    candidates: Sequence[Candidate], rows: Sequence[Row | None], bad: Mapping[int, BadFile]
) -> list[Finding]:
    """All findings, sorted by path, then kind.

    Args:
        rows, bad: results of verification; see formwork.datasets.verify.Verification.
    """
    found = [Finding(position, file.kind, file.reason) for position, file in bad.items()]
    found += _duplicates(candidates, rows)
    for position, row in enumerate(rows):
        if row is None:
            continue
        named = _format_by_extension(row.path)
        if named is not None and named != SAME_FORMAT.get(row.format, row.format):
            found.append(Finding(position, "wrong extension", f"named as {named}, and is {row.format}"))
    return sorted(found, key=lambda finding: (path_bytes(candidates[finding.position].path), finding.kind))


def _format_by_extension(path: str) -> str | None:
    """The image format that a file's extension stands for, if any."""
    name = path.rpartition("/")[2]
    return FORMAT_OF.get(f".{name.rpartition('.')[2].lower()}") if "." in name else None


def _duplicates(candidates: Sequence[Candidate], rows: Sequence[Row | None]) -> list[Finding]:
    groups: dict[str, list[int]] = {}
    first: dict[str, int] = {}  # most files have no duplicate: a list for each would take memory
    for position, row in enumerate(rows):
        if row is not None and (before := first.setdefault(row.sha256, position)) != position:
            groups.setdefault(row.sha256, [before]).append(position)
    return [finding for group in groups.values() for finding in _findings_of_copies(candidates, group)]


def _findings_of_copies(candidates: Sequence[Candidate], group: Sequence[int]) -> list[Finding]:
    """Findings on the files of one content.

    Where their labels differ, none can be trusted: all copies are redundant. Otherwise one is kept: the first in val,
    so that no validation image is trained on, or else the first by path.
    """
    positions = sorted(group, key=lambda position: path_bytes(candidates[position].path))
    copies = [candidates[position] for position in positions]
    if len({copy.class_name for copy in copies}) > 1:
        other = {c.class_name: next(o.path for o in copies if o.class_name != c.class_name) for c in copies}
        return [
            Finding(position, "label conflict", "the copy is in another class", other[copy.class_name], True)
            for position, copy in zip(positions, copies, strict=True)
        ]
    kept = next((copy for copy in copies if copy.split == "val"), copies[0])
    return [
        Finding(position, "duplicate" if copy.split == kept.split else "leakage", "", kept.path, True)
        for position, copy in zip(positions, copies, strict=True)
        if copy is not kept
    ]


def write_report(
    path: Path,
    candidates: Sequence[Candidate],
    found: Sequence[Finding],
    left_out: Sequence[LeftOut],
    on_bad_image: str,
    on_duplicate: str,
) -> None:
    """Write a CSV with one line a finding, then one for each file that is no candidate, the first REPORTED of a kind.

    Names are escaped: the manifests have them as they are.
    """
    lines: list[tuple[str, ...]] = []
    for finding in found:
        file, action = candidates[finding.position], finding.action(on_bad_image, on_duplicate)
        lines.append(
            (file.path, file.split, file.class_name, finding.kind, finding.reason, finding.duplicate_of, action)
        )
    for kind, paths in _by_kind(left_out).items():
        lines += [(path, "", "", kind, "", "", "left out") for path in paths[:REPORTED]]
        if len(paths) > REPORTED:
            lines.append(("", "", "", kind, f"and {len(paths) - REPORTED} more", "", "left out"))
    write_csv(path, [HEADER, *(map(cell, line) for line in lines)])


def _by_kind(left_out: Sequence[LeftOut]) -> dict[str, list[str]]:
    """Paths by kind, in the order of LEFT_OUT."""
    paths: dict[str, list[str]] = {kind: [] for kind in LEFT_OUT}
    for file in left_out:
        paths[file.kind].append(file.path)
    return {kind: found for kind, found in paths.items() if found}


def left_out_line(left_out: Sequence[LeftOut], report: Path) -> str:
    """How many files and folders are no candidates, by kind, with the first of each; "" where there are none."""
    parts = []
    for kind, paths in _by_kind(left_out).items():
        named = ", ".join([*map(printable, paths[:NAMED]), *(["..."] if len(paths) > NAMED else [])])
        parts.append(f"{count(len(paths), *LEFT_OUT[kind])} ({named})")
    return f"Left out: {'; '.join(parts)}. Listed in {report}." if parts else ""


def summary(candidates: Sequence[Candidate], found: Sequence[Finding], on_bad_image: str, on_duplicate: str) -> str:
    """The number of findings of each kind and action, each followed by the first few files."""
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
    path = printable(candidates[finding.position].path)
    if finding.duplicate_of:
        return f"{path} = {printable(finding.duplicate_of)}"
    return f"{path}: {printable(finding.reason)}"
