"""Tool evaluate_on: how good a trained model is on another dataset with the same classes, or on a group of classes."""

import argparse
from pathlib import Path

from formwork.errors import run


def main() -> None:
    from formwork.params import load_params
    from formwork.startup import large_imports

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "dataset",
        nargs="?",
        help="name of a folder in data/raw, or a path; default: the validation and test images of data.name",
    )
    parser.add_argument("--group", help="images of a group of classes of datasets.<name>.groups alone")
    parser.add_argument("--split", choices=("train", "val", "test"), help="images of one split alone")
    parser.add_argument(
        "--known-only", action="store_true", help="leave out images of classes that the model was not trained on"
    )
    parser.add_argument("--model", type=Path, default=Path("models/best.pt"), help="file of the trained model")
    parser.add_argument("--results", type=Path, default=Path("results/evaluate_on"), help="folder for the metrics")
    a = parser.parse_args()
    params = load_params()  # its mistakes are told before anything large is imported
    with large_imports():
        from formwork.tools.evaluate_on.evaluate_on import evaluate_on
    evaluate_on(params, a.model, a.results, a.dataset, a.group, a.split, a.known_only)


if __name__ == "__main__":
    run(main)
