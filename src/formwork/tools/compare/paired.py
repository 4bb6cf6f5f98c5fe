"""The predictions of the runs of a comparison, found and compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from formwork.errors import FormworkError
from formwork.folders import Folders
from formwork.interim.settings import read_settings
from formwork.tools.compare.answers import Answers, read_answers
from formwork.tools.compare.differences import Difference, find_differences
from formwork.tools.compare.runs import PREDICTIONS, Run
from formwork.tools.compare.summary import Summary
from formwork.tools.diff.sides import Files


@dataclass
class _Reader:
    files: Files
    known: dict[str, Mapping[str, Answers]] = field(default_factory=dict)

    def read(self, run: Run) -> Mapping[str, Answers]:
        """
        Raises:
            FormworkError: its predictions are not here, or damaged.
        """
        content = run.predictions
        if content is None:
            raise FormworkError(f"{run.source} has no {PREDICTIONS}.")
        if content not in self.known:
            path = self.files.cached(content)
            if not path.is_file():
                missing = self.files.download_contents({PREDICTIONS: content}) if self.files.download else True
                if missing:
                    advice = "nor in its remote" if self.files.download else "which --fetch brings from its remote"
                    raise FormworkError(f"{PREDICTIONS} of {run.source} is not in DVC's cache, {advice}.")
            self.known[content] = read_answers(path)
        return self.known[content]


def compare_answers(summary: Summary, root: Path, download: bool) -> tuple[list[Difference], list[str]]:
    """The differences of the scores of all pairs of kinds, and sentences on those that could not be compared.

    Args:
        root: of the repository.
        download: get predictions that are not in DVC's cache from its remote.
    """
    if len(summary.kinds) < 2:
        return [], []
    reader = _Reader(Files(root, download))
    answers: dict[str, list[Mapping[str, Answers]]] = {}
    notes = []
    for kind in summary.kinds:
        try:
            answers[kind] = [reader.read(run) for run in _of_each_seed(summary.of(kind))]
        except FormworkError as error:
            notes.append(f"{kind} is left out of the paired tests: {error}")
    deviations = read_settings(Folders.of(summary.dataset, root).settings).target_std
    found, more = find_differences(answers, summary.metric, deviations)
    return found, [*notes, *more]


def _of_each_seed(runs: Sequence[Run]) -> list[Run]:
    """The first run of each seed: others repeat it."""
    return list({run.case.seed: run for run in reversed(runs)}.values())[::-1]
