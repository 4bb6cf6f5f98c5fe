"""Find images whose label is likely wrong, and show them."""

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from formwork.errors import FormworkError
from formwork.escapes import printable
from formwork.evaluation.predictions_file import read_predictions
from formwork.files import check_writable, write_text
from formwork.images.row import SEPARATOR
from formwork.text import clip, columns, count
from formwork.tools.diff.images import Images
from formwork.tools.diff.pictures import thumbnails
from formwork.tools.diff.sides import PREDICTIONS, WORKSPACE, Files, Side, find_side
from formwork.tools.label_errors.runs import Answers, collect, find_folds
from formwork.tools.label_errors.score import Suspects, suspect_classes, suspect_labels, suspect_numbers
from formwork.tools.label_errors.suspects_file import suggestions, write_corrected, write_suspects
from formwork.tools.report.page import Figure, Gallery, Section, Table, Text, render

SUSPECTS = "suspects.csv"
MOST_PICTURES = 100
MOST_PAIRS = 20
EXAMPLES = 10
CROSS_VALIDATE = "dvc exp run --queue -S data.split.folds=5 -S data.split.fold=0,1,2,3,4 && dvc queue start"


def label_errors(asked: Sequence[str], results: Path, download: bool = False) -> None:
    """Write suspects.csv and index.html into `results`, and print what they hold.

    Args:
        asked: revisions or experiments whose models are asked; none: the newest experiment of each fold of
            `data.split.folds`, or where there are none the model of the workspace.
        download: get predictions that are missing from DVC's remote.

    Raises:
        FormworkError: there are no predictions, or they do not belong to the dataset of the workspace.
    """
    list_file, page = results / SUSPECTS, results / "index.html"
    check_writable(list_file, page)
    root = Path()
    workspace = find_side(root, WORKSPACE)
    files = Files(root, download)
    images = files.images(workspace)
    folds = [] if asked else find_folds(root, workspace.dataset)
    names = list(asked) or [fold.revision for fold in folds] or [WORKSPACE]
    runs = [read_predictions(_predictions(files, find_side(root, name))) for name in names]
    answers = collect(images, runs)
    suspects = find_suspects(images, answers)
    summary = [_coverage(images, answers, len(runs)), _verdict(suspects)]
    if folds and len(folds) < folds[0].folds:
        absent = sorted(set(range(folds[0].folds)) - {fold.fold for fold in folds})
        summary.append(f"No experiment has validated on fold {', '.join(map(str, absent))} of {folds[0].folds}.")
    elif len(answers.rows) < len(images) and not folds:
        summary.append(f"For all of them, cross-validate: {CROSS_VALIDATE}")
    write_suspects(list_file, suspects, answers, images)
    write_text(page, _page(files, workspace, images, answers, suspects, summary))
    print("\n".join(summary))
    if len(suspects):
        print(f"\n{columns(_examples(images, answers, suspects))}")
    print(f"\nPictures: {page}\nList: {list_file}")


def correct(table: Path, results: Path) -> None:
    """Write what suspects.csv in `results` suggests into a table of labels, as write_corrected does."""
    root = Path()
    images = Files(root).images(find_side(root, WORKSPACE))
    print(write_corrected(table, results / SUSPECTS, images))


def find_suspects(images: Images, answers: Answers) -> Suspects:
    find = {"classes": suspect_classes, "multilabel": suspect_labels, "regression": suspect_numbers}[images.task]
    return find(answers.given, answers.answers)


def _predictions(files: Files, side: Side) -> Path:
    found = files.find(side, [PREDICTIONS])
    if PREDICTIONS not in found:
        what = "Run `dvc repro evaluate`" if side.revision is None else "Run that experiment again"
        raise FormworkError(f"{side} has no {PREDICTIONS}. {what}, or name other runs.")
    return found[PREDICTIONS]


def _coverage(images: Images, answers: Answers, runs: int) -> str:
    number = f"{len(answers.rows):,} of {count(len(images), 'image')}"
    if runs == 1:
        return f"{number} judged by one model, which was not trained on them: those of val and test."
    return f"{number} judged by {runs} models, each image by those that were not trained on it."


def _verdict(suspects: Suspects) -> str:
    likely = int(np.count_nonzero(suspects.confident))
    have = "has" if len(suspects) == 1 else "have"
    return (
        f"{count(len(suspects), 'image')} {have} another label than is predicted; {likely:,} of these are likely wrong."
    )


def _described(images: Images, answers: Answers, suspects: Suspects, most: int) -> list[tuple[str, str, str, str, str]]:
    """(path, split, given, suggested, how sure) of the first suspects."""
    rows = answers.rows[suspects.rows[:most]]
    cells = zip(images.cells_of(rows), islice(suggestions(suspects, answers, images.task), most), strict=True)
    given, suggested = zip(*(_shown(images, *both) for both in cells), strict=True) if len(rows) else ((), ())
    sure = [
        f"{score:.1f} deviations off" if images.task == "regression" else f"{probability:.0%}"
        for score, probability in zip(suspects.scores[:most], suspects.probability[:most], strict=True)
    ]
    described = zip(images.paths_of(rows), images.splits_of(rows), given, suggested, sure, strict=True)
    return [tuple(map(printable, one)) for one in described]  # type: ignore[misc]  # there are five


def _shown(images: Images, given: Sequence[str], suggested: Sequence[str]) -> tuple[str, str]:
    """What is given and what is suggested, as people read it; of several numbers those that differ."""
    if images.task == "multilabel":
        return given[0].replace(SEPARATOR, ", "), suggested[0].replace(SEPARATOR, ", ")
    if images.task == "classes":
        return given[0], suggested[0]
    names = zip(images.target_names, given, suggested, strict=True)
    changed = [(name, float(was), float(now)) for name, was, now in names if was != now]
    before, after = (", ".join(f"{name}={pair[side]:.4g}" for name, *pair in changed) for side in range(2))
    return before, after


def _examples(images: Images, answers: Answers, suspects: Suspects) -> list[list[str]]:
    described = _described(images, answers, suspects, EXAMPLES)
    rows = [[clip(path, 60), given, suggested, sure] for path, _, given, suggested, sure in described]
    return [["most suspicious", "given", "suggested", ""], *rows]


def _page(
    files: Files, side: Side, images: Images, answers: Answers, suspects: Suspects, summary: Sequence[str]
) -> str:
    rows = answers.rows[suspects.rows[:MOST_PICTURES]]
    pictures = thumbnails(files, side, images, rows)
    described = _described(images, answers, suspects, len(suspects))
    figures = [
        Figure([picture], [f"{given or 'no label'} → {suggested or 'no label'}", f"{sure}, {split}", path])
        for picture, (path, split, given, suggested, sure) in zip(pictures, described, strict=False)
    ]
    sections = [Section("Summary", list(map(Text, summary))), Section("The most suspicious", [Gallery(figures)])]
    if images.task == "classes" and described:
        pairs = Counter((given, suggested) for _, _, given, suggested, _ in described).most_common(MOST_PAIRS)
        body = [[given, suggested, f"{number:,}"] for (given, suggested), number in pairs]
        sections.append(Section("By class", [Table(["given", "suggested", "images"], body, texts=2)]))
    return render(
        f"Likely wrong labels in {side.dataset}", "the label that is given → the one that is suggested", sections
    )
