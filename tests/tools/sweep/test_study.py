"""The study: the same trials for the same seed, however often it is interrupted, and what became of each."""

import math
from pathlib import Path

import pytest

from formwork.errors import FormworkError
from formwork.tools.experiments.pipeline import Stage
from formwork.tools.sweep.chart import draw
from formwork.tools.sweep.page import write_results
from formwork.tools.sweep.space import Choices, Range, Sweep, SweepFile
from formwork.tools.sweep.study import Running, Study

SPACE = {
    "train.lr": Range(0.0001, 1, log=True, step=None, whole=False),
    "data.batch_size": Range(16, 64, log=False, step=16, whole=True),
    "augment.train": Choices((None, [{"Resize": {}}])),
}
STAGES = {"train": Stage("python src/train.py", {"src/own": "1"}, {"seed": 0})}


def open_study(folder: Path, space: dict = SPACE, stages: dict = STAGES, **keys: object) -> Study:
    file = SweepFile.model_validate({"params": {"-": 0}, **keys})
    return Study(Sweep("lr", Path("sweep.yaml"), file, space, 20, epochs=4), folder, "val_accuracy", True, stages)


def score_of(running: Running) -> float:
    """Best at a learning rate of 0.01."""
    return 1 / (1 + abs(math.log10(running.values["train.lr"]) + 2))


def run(study: Study, trials: int) -> list[dict]:
    return [finish(study.next()) for _ in range(trials)]


def finish(running: Running) -> dict:
    running.finish(score_of(running))
    return dict(running.values)


def test_an_interrupted_study_goes_on_with_the_same_trials_as_one_that_was_not(tmp_path: Path) -> None:
    whole = run(open_study(tmp_path / "whole"), 13)

    broken = run(open_study(tmp_path / "broken"), 11)
    open_study(tmp_path / "broken").next()  # killed while it ran
    study = open_study(tmp_path / "broken")
    running = study.next()
    assert running.goes_on
    assert running.name == "lr-11"
    broken += [finish(running), *run(study, 1)]
    assert broken == whole
    assert len({values["train.lr"] for values in whole}) == 13
    assert run(open_study(tmp_path / "other", seed=1), 1) != whole[:1]


def test_values_are_those_of_params_yaml(tmp_path: Path) -> None:
    tried = run(open_study(tmp_path, sampler="random"), 12)
    assert {values["data.batch_size"] for values in tried} == {16, 32, 48, 64}
    assert all(type(values["data.batch_size"]) is int for values in tried)
    assert [{"Resize": {}}] in [values["augment.train"] for values in tried]
    assert None in [values["augment.train"] for values in tried]
    assert [dict(trial.values) for trial in open_study(tmp_path, sampler="random").trials()] == tried


def test_a_grid_goes_through_all_values_in_their_order(tmp_path: Path) -> None:
    space = {"seed": Choices((0, 1)), "train.lr": Range(0.1, 0.3, log=False, step=0.1, whole=False)}
    study = open_study(tmp_path, space, sampler="grid")
    tried = []
    for number in range(6):
        study.next()  # interrupted each time
        running = open_study(tmp_path, space, sampler="grid").next()
        running.finish(number)
        tried.append(tuple(running.values.values()))
    assert tried == [(0, 0.1), (0, 0.2), (0, 0.3), (1, 0.1), (1, 0.2), (1, 0.3)]


def test_a_curve_below_the_median_is_pruned_after_the_first_quarter_and_before_the_last_epoch(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    good = {epoch: epoch / 10 for epoch in range(1, 5)}
    for _ in range(5):
        running = study.next()
        assert not running.prunes(good, epochs=4)
        running.finish(0.4)
    running = study.next()
    assert not running.prunes({}, epochs=4)
    assert not running.prunes({1: 0.0}, epochs=4)
    assert running.prunes({1: 0.0, 2: 0.0}, epochs=4)
    assert open_study(tmp_path).next().prunes({1: 0.0, 2: 0.0}, epochs=4)  # killed before it was told
    running.prune()
    running = study.next()
    assert not running.prunes({1: 0.1, 2: 0.2, 3: 0.3, 4: 0.0}, epochs=4)  # it has its time already

    pruned = study.trials()[5]
    assert (pruned.state, pruned.score, pruned.epochs) == ("pruned", 0.0, 2)


def test_a_failed_trial_is_kept_with_its_reason_and_is_never_the_best(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    study.next().fail("The training loss is nan")
    assert study.best() is None
    run(study, 2)
    failed, *finished = study.trials()
    assert (failed.state, failed.reason, failed.score) == ("failed", "The training loss is nan", None)
    best = study.best()
    assert best is not None
    assert best.score == max(trial.score or 0 for trial in finished)


def test_a_study_goes_on_with_what_it_was_made_of_alone(tmp_path: Path) -> None:
    run(open_study(tmp_path), 1)
    open_study(tmp_path, trials=99, sampler="random")
    with pytest.raises(FormworkError, match=r"something else: params\. .*another `study` in sweep.yaml"):
        open_study(tmp_path, {"train.lr": SPACE["train.lr"]})
    with pytest.raises(FormworkError, match=r"something else: src/own, seed\."):
        open_study(tmp_path, stages={"train": Stage("python src/train.py", {"src/own": "2"}, {"seed": 1})})


def test_a_damaged_database_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "studies.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(FormworkError, match=r"studies\.db cannot be used: .*Move it away"):
        open_study(tmp_path)


def test_what_mattered_is_found_and_drawn(tmp_path: Path) -> None:
    """The score depends on the learning rate alone."""
    study = open_study(tmp_path)
    run(study, 3)
    assert study.importances() == {}
    write_results(study, tmp_path / "few")
    run(study, 27)
    shares = study.importances()
    assert max(shares, key=lambda key: shares[key]) == "train.lr"
    assert shares["train.lr"] > 0.7

    write_results(study, tmp_path / "lr")
    assert len((tmp_path / "lr/trials.csv").read_text().splitlines()) == 31
    page = (tmp_path / "lr/sweep.md").read_text()
    best = study.best()
    assert best is not None
    assert f"`dvc exp apply {best.name}`" in page
    assert (tmp_path / "few/sweep.png").read_bytes() != (tmp_path / "lr/sweep.png").read_bytes()
    draw(study, study.trials(), shares, tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "lr/sweep.png").read_bytes()
