"""Findings: all that is wrong with raw images, what is done about each, the report file and its summary on screen."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from formwork.datasets.candidates import Candidates
from formwork.datasets.listing import LEFT_OUT, LeftOut
from formwork.datasets.policy import Policy
from formwork.datasets.tables.rows import BAD_ROWS, ODD_ROWS, RowFinding
from formwork.datasets.verify import Verification
from formwork.escapes import cell, printable
from formwork.formats import write_csv
from formwork.images.manifest import digest_starts, path_bytes
from formwork.images.pixels import EXTENSIONS
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
NEAR_DUPLICATES = ("near label conflict", "near leakage", "near duplicate")
"""Images that look like others: data.on_near_duplicate decides."""
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
        kind: one of BAD, DUPLICATES, NEAR_DUPLICATES and NOTES.
        reason: for people; may be empty where the kind says all.
        duplicate_of: path of a file with the same content, or of an image that looks like this one.
        redundant: whether this is a copy that `on_duplicate: skip`, or `on_near_duplicate: skip`, leaves out.
    """

    position: int
    kind: str
    reason: str = ""
    duplicate_of: str = ""
    redundant: bool = False

    def action(self, policy: Policy) -> str:
        """What link does with the file: "stopped", "left out" or "kept"."""
        if self.kind in BAD:
            return "stopped" if policy.on_bad_image == "error" else "left out"
        of_copies = policy.on_near_duplicate if self.kind in NEAR_DUPLICATES else policy.on_duplicate
        if self.kind in (*DUPLICATES, *NEAR_DUPLICATES) and of_copies == "error":
            return "stopped"
        return "left out" if self.redundant and of_copies == "skip" else "kept"


def collect_findings(candidates: Candidates, verified: Verification, same: Sequence[Sequence[int]]) -> list[Finding]:
    """All findings but near duplicates.

    Args:
        same: groups of files with the same content, as equal_rows gives them.
    """
    found = [Finding(position, file.kind, file.reason) for position, file in verified.bad.items()]
    found += [finding for group in same for finding in _findings_of_copies(candidates, group)]
    found += _wrong_extensions(candidates.paths, verified)
    return found


def in_order(candidates: Candidates, found: Iterable[Finding]) -> list[Finding]:
    """Findings by path, then kind."""
    return sorted(found, key=lambda finding: (path_bytes(candidates.paths[finding.position]), finding.kind))


def _wrong_extensions(paths: Sequence[str], verified: Verification) -> Iterator[Finding]:
    """Images whose names have the extension of another format. Pairs of both are few: each is judged once."""
    formats = verified.images["format"].tolist()
    extensions = [path[path.rfind(".") :] for path in paths]
    judged: dict[tuple[str, bytes], str] = {}
    for named, kind in set(zip(extensions, formats, strict=True)):
        format_, is_ = FORMAT_OF.get(named.lower()), kind.decode()
        if kind and format_ is not None and format_ != SAME_FORMAT.get(is_, is_):
            judged[named, kind] = f"named as {format_}, and is {is_}"
    if judged:
        for position, pair in enumerate(zip(extensions, formats, strict=True)):
            if pair in judged:
                yield Finding(position, "wrong extension", judged[pair])


def equal_rows(digests: np.ndarray, positions: np.ndarray) -> list[list[int]]:
    """Groups of those positions, ascending, whose digests are equal, of two and more.

    Args:
        digests: (N, 32) uint8. positions: of the digests to compare, ascending.
    """
    starts = digest_starts(digests)[positions]
    order = np.argsort(starts, kind="stable")
    same = starts[order[1:]] == starts[order[:-1]]
    near = np.zeros(len(order) + 1, bool)
    near[1:-1] = same
    groups: dict[bytes, list[int]] = {}
    for position in np.sort(positions[order[near[1:] | near[:-1]]]).tolist():
        groups.setdefault(digests[position].tobytes(), []).append(position)
    return [group for group in groups.values() if len(group) > 1]


def _findings_of_copies(candidates: Candidates, positions: Sequence[int]) -> list[Finding]:
    """Findings on the files of one content.

    Where their labels differ, none can be trusted: all copies are redundant. Otherwise one is kept: the first in test,
    or else in val, so that nothing is trained on that a model is measured by, or else the first by path.
    """
    copies = [candidates[position] for position in positions]
    if len({copy.class_name for copy in copies}) > 1:
        other = {c.class_name: next(o.path for o in copies if o.class_name != c.class_name) for c in copies}
        return [
            Finding(position, "label conflict", "the copy has another label", other[copy.class_name], True)
            for position, copy in zip(positions, copies, strict=True)
        ]
    kept = candidates[first_kept(candidates, positions)]
    return [
        Finding(position, "duplicate" if copy.split == kept.split else "leakage", "", kept.path, True)
        for position, copy in zip(positions, copies, strict=True)
        if copy.path != kept.path
    ]


def first_kept(candidates: Candidates, positions: Sequence[int]) -> int:
    """The file that is kept of several, ascending: the first in test, or else in val, or else the first by path."""
    return max(positions, key=lambda position: candidates.splits[position])


def write_report(
    path: Path,
    candidates: Candidates,
    found: Sequence[Finding],
    rows: Sequence[RowFinding],
    left_out: Sequence[LeftOut],
    policy: Policy,
) -> None:
    """Write a CSV with one line a finding on a file, then on a row of the table of labels, then one for each file that
    is no candidate, the first REPORTED of a kind.

    Names are escaped: the manifests have them as they are.
    """
    lines: list[tuple[str, ...]] = []
    for finding in found:
        file, action = candidates[finding.position], finding.action(policy)
        lines.append(
            (file.path, file.split, file.class_name, finding.kind, finding.reason, finding.duplicate_of, action)
        )
    lines += [(row.path, "", "", row.kind, row.reason, "", row.action(policy)) for row in rows]
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


def summary(candidates: Candidates, found: Sequence[Finding], rows: Sequence[RowFinding], policy: Policy) -> str:
    """The number of findings of each kind and action, each followed by the first few files."""
    groups: dict[tuple[str, str], list[Finding | RowFinding]] = defaultdict(list)
    for finding in chain[Finding | RowFinding](found, rows):
        groups[finding.kind, finding.action(policy)].append(finding)
    order = {kind: i for i, kind in enumerate((*BAD, *BAD_ROWS, *DUPLICATES, *NEAR_DUPLICATES, *NOTES, *ODD_ROWS))}
    lines = []
    for (kind, action), group in sorted(groups.items(), key=lambda item: (order[item[0][0]], item[0][1])):
        lines.append(f"{kind:<18} {len(group):>8}  {action}")
        lines += [f"    {_line(candidates, finding)}" for finding in group[:SHOWN]]
        if len(group) > SHOWN:
            lines.append(f"    ... and {len(group) - SHOWN} more")
    return "\n".join(lines)


def _line(candidates: Candidates, finding: Finding | RowFinding) -> str:
    if isinstance(finding, RowFinding):
        return f"{printable(finding.path)}: {printable(finding.reason)}" if finding.path else printable(finding.reason)
    path = printable(candidates[finding.position].path)
    if finding.duplicate_of:
        sign = "~" if finding.kind in NEAR_DUPLICATES else "="
        return f"{path} {sign} {printable(finding.duplicate_of)}"
    return f"{path}: {printable(finding.reason)}"
