"""Tool predict: what a trained model says of images, as a CSV or Parquet file with a row for each.

The images are preprocessed as in the pipeline. What is no image gets a row with the reason in the column `error`. The
exit status is 0 where any image was predicted, and 1 where none was, or nothing could be written.
"""

import argparse
import sys
from pathlib import Path

from formwork.errors import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="models/best.pt, as the stage train writes it")
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="image, folder, quoted pattern such as 'photos/**/*.jpg', tar, Parquet or Arrow file of images, or "
        "manifest such as data/interim/digits/test.csv",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="ends in .csv or .parquet")
    parser.add_argument("--top", type=_positive, default=1, metavar="K", help="columns for the K likeliest classes")
    parser.add_argument("--batch-size", type=_positive, default=64, metavar="N", help="images through the network")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that decode; default: one a core")
    parser.add_argument("--device", default="auto", help="cpu, cuda, ...; auto, the default: a GPU where there is one")
    a = parser.parse_args()

    from formwork.startup import large_imports
    from formwork.system import cores
    from formwork.tools.predict.table import check_output

    check_output(a.output)
    with large_imports():
        from formwork.prediction.model import load_model
        from formwork.tools.predict.predict import predict, summary

    workers = cores() if a.workers is None else max(a.workers, 0)
    result = predict(load_model(a.model, a.device), a.paths, a.output, a.top, a.batch_size, workers)
    print(summary(result, a.output))
    if not result.predicted:
        sys.exit(1)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("a number from 1 on")
    return value


if __name__ == "__main__":
    run(main)
