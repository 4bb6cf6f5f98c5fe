"""The rows of a table beside the files that they name, and what is wrong with them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from formwork.datasets.policy import Policy
from formwork.datasets.tables.table import Table

NO_FILE, CONTRADICTION, NO_LABEL = "no file", "contradiction", "no label"
DAMAGED_TAR = "damaged tar"
UNKNOWN_SPLIT, BAD_WEIGHT, BAD_TARGET = "unknown split", "bad weight", "bad target"
TWICE, NO_LABELS = "listed twice", "no labels"
BAD_ROWS = (DAMAGED_TAR, NO_FILE, CONTRADICTION, NO_LABEL, UNKNOWN_SPLIT, BAD_WEIGHT, BAD_TARGET)
"""Rows, and tars, that cannot be used, or not as a whole: data.on_bad_image decides."""
ODD_ROWS = (TWICE, NO_LABELS)
"""Oddities of rows that are used all the same."""


@dataclass(frozen=True, slots=True)
class RowFinding:
    """Something that is wrong with a row of a table, or with a tar.

    Attributes:
        path: of its file; as it stands in the table where there is none.
        kind: one of BAD_ROWS and ODD_ROWS.
        reason: for people; of a row, it names the table and the line.
    """

    path: str
    kind: str
    reason: str

    def action(self, policy: Policy) -> str:
        """What link does with the row: "stopped", "left out" or "kept"."""
        if self.kind in BAD_ROWS:
            return "stopped" if policy.on_bad_image == "error" else "left out"
        return "kept"


class Rows:
    """Attributes:
    files: (N,) int64, the position among `paths` of the file of each row; negative where it has none.
    bad: (N,) bool, the rows that cannot be used, as far as that is known.
    findings: what is wrong, as far as that is known.
    """

    def __init__(self, table: Table, files: np.ndarray, paths: Sequence[str]):
        self.table, self.files, self.paths = table, files, paths
        self.bad = files < 0
        self.findings: list[RowFinding] = []

    def usable(self, mask: np.ndarray) -> np.ndarray:
        """The rows of a (N,) mask that can be used so far."""
        return np.flatnonzero(mask & ~self.bad)

    def refuse(self, row: int, kind: str, reason: str) -> None:
        """Leave out a row."""
        self.note(row, kind, reason)
        self.bad[row] = True

    def note(self, row: int, kind: str, reason: str) -> None:
        path = self.paths[self.files[row]]
        self.findings.append(RowFinding(path, kind, f"{self.table.at(row)}: {reason}"))
