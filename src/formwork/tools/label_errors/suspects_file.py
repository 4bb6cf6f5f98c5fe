"""suspects.csv: the list of likely wrong labels, for people to go through; and a table of labels corrected by it."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from formwork.errors import FormworkError
from formwork.escapes import printable
from formwork.files import write_text
from formwork.formats import csv_text, write_csv
from formwork.images.row import SEPARATOR, Task
from formwork.text import count
from formwork.tools.diff.images import Images
from formwork.tools.label_errors.runs import Answers
from formwork.tools.label_errors.score import Suspects

KEYS = ("path", "file_name")
DELIMITERS = ",;\t|"


def label_columns(task: Task, target_names: Sequence[str]) -> list[str]:
    """The columns of a table of labels that hold what a model is to predict."""
    return {"classes": ["label"], "multilabel": ["labels"], "regression": list(target_names)}[task]


def suggested_columns(columns: Sequence[str]) -> list[str]:
    """The columns of suspects.csv with what is suggested in place of these columns."""
    return ["suggested"] if len(columns) == 1 else [f"suggested.{name}" for name in columns]


def suggestions(suspects: Suspects, answers: Answers, task: Task) -> Iterator[list[str]]:
    """What is suggested for each suspect, as cells of label_columns."""
    for suggested in suspects.suggested:
        if task == "classes":
            yield [answers.names[suggested]]
        elif task == "multilabel":
            yield [SEPARATOR.join(sorted(answers.names[label] for label in np.flatnonzero(suggested)))]
        else:
            yield [repr(float(number)) for number in suggested]


def write_suspects(path: Path, suspects: Suspects, answers: Answers, images: Images) -> None:
    """Write suspects.csv: path, what is given, what is suggested, score, whether confident, and split; worst first."""
    rows = answers.rows[suspects.rows]
    columns = label_columns(images.task, images.target_names)
    header = ["path", *columns, *suggested_columns(columns), "score", "confident", "split"]
    cells = zip(
        images.paths_of(rows),
        images.cells_of(rows),
        suggestions(suspects, answers, images.task),
        suspects.scores,
        suspects.confident,
        images.splits_of(rows),
        strict=True,
    )
    body = (
        [path, *given, *suggested, f"{score:.4f}", "yes" if confident else "no", split]
        for path, given, suggested, score, confident, split in cells
    )
    write_csv(path, [header, *body])


def write_corrected(table: Path, suspects: Path, images: Images) -> str:
    """Put what suspects.csv suggests into a table of labels, and say what was done.

    A CSV that is there keeps all else: other rows, columns, separator and order. Otherwise the table is made, with a
    row for each image.

    Raises:
        FormworkError: a file cannot be read or written, or does not have these images and columns.
    """
    columns = label_columns(images.task, images.target_names)
    changes = _read_suggestions(suspects, columns)
    if table.suffix != ".csv":
        raise FormworkError(f"{table} is no .csv: correct it by hand, from {suspects}.")
    if not table.exists():
        every = np.arange(len(images))
        known = dict(zip(images.paths_of(every), images.cells_of(every), strict=True))
        unknown = changes.keys() - known.keys()
        if not unknown:
            write_csv(table, [["path", *columns], *([path, *row] for path, row in sorted((known | changes).items()))])
    else:
        text, unknown = _corrected(table, columns, changes)
        if not unknown:
            write_text(table, text)
    if unknown:
        raise FormworkError(
            f"{table} has no row for {count(len(unknown), 'image')} of {suspects}, {printable(min(unknown))} for one. "
            "Nothing was changed."
        )
    return f"{table}: {count(len(changes), 'label')} corrected"


@dataclass(frozen=True)
class _Cells:
    header: list[str]
    rows: list[list[str]]
    delimiter: str
    start: str


def _read_suggestions(path: Path, columns: Sequence[str]) -> dict[str, list[str]]:
    """What to write into the columns of each image, by its path."""
    table = _read(path)
    key, *places = _places(path, table.header, ["path", *suggested_columns(columns)])
    for number, row in enumerate(table.rows, 2):
        if columns != ["labels"] and not all(row[place] for place in places):
            raise FormworkError(
                f"{path}, row {number}: nothing is suggested for {printable(row[key])}. Write a label, or delete the "
                "row if the label is right."
            )
    return {row[key]: [row[place] for place in places] for row in table.rows}


def _corrected(path: Path, columns: Sequence[str], changes: dict[str, list[str]]) -> tuple[str, set[str]]:
    """A CSV of labels with the changes made, and the images that it has no row for."""
    table = _read(path)
    key_name = next((name for name in KEYS if name in table.header), KEYS[0])
    key, *places = _places(path, table.header, [key_name, *columns])
    left = set(changes)
    for row in table.rows:
        image = row[key].replace("\\", "/")
        if image in changes:
            left.discard(image)
            for place, value in zip(places, changes[image], strict=True):
                row[place] = value
    return table.start + csv_text([table.header, *table.rows], table.delimiter), left


def _read(path: Path) -> _Cells:
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise FormworkError(f"{path} cannot be read: {error.strerror}. Run `python src/label_errors.py`.") from error
    start = "\ufeff" if text.startswith("\ufeff") else ""
    first = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    try:
        lines = list(csv.reader(io.StringIO(text.removeprefix(start), newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise FormworkError(f"{path} is no CSV: {error}.") from error
    header, *rows = lines or [[]]
    for number, row in enumerate(rows, 2):
        if row and len(row) != len(header):
            raise FormworkError(f"{path}, row {number}, has {len(row)} cells, and the first row {len(header)}.")
    return _Cells(header, [row for row in rows if row], delimiter, start)


def _places(path: Path, header: Sequence[str], names: Sequence[str]) -> list[int]:
    lacking = [name for name in names if name not in header]
    if lacking:
        raise FormworkError(
            f"{path} has no column {lacking[0]}; it has {', '.join(map(printable, header))}. Correct it by hand."
        )
    return [list(header).index(name) for name in names]
