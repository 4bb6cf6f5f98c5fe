"""Stage evaluate: measure a trained model on the validation split."""

import argparse
from pathlib import Path

from formwork.errors import run


def main() -> None:
    from formwork.folders import Folders
    from formwork.params import load_params
    from formwork.startup import large_imports

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("raw", type=Path, help="data/raw/<name>")
    parser.add_argument("interim", type=Path, help="data/interim/<name>")
    parser.add_argument("processed", type=Path, help="data/processed/<name>")
    parser.add_argument("model", type=Path, help="file of the trained model")
    parser.add_argument("results", type=Path, help="folder for metrics and plots")
    a = parser.parse_args()
    params = load_params()  # its mistakes are told before anything large is imported
    with large_imports():
        from formwork.evaluation.evaluate import evaluate
    evaluate(params, Folders(a.raw, a.interim, a.processed), a.model, a.results)


if __name__ == "__main__":
    run(main)
