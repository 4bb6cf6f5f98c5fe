"""Stage link: verify the raw images, write the manifests, dataset.json and the tree of links."""

import argparse
import time
from pathlib import Path

from formwork.errors import run


def main() -> None:
    from formwork.datasets.link import link
    from formwork.earlier_parts import keep_outdated
    from formwork.images.manifest import SPLITS
    from formwork.params import load_params

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("raw", type=Path, help="data/raw/<name>")
    parser.add_argument("interim", type=Path, help="data/interim/<name>")
    parser.add_argument("processed", type=Path, help="data/processed/<name>, with the betons as they are before")
    parser.add_argument("report", type=Path, help="CSV of all that is wrong with the images")
    parser.add_argument("split_file", type=Path, help="data/splits/<name>.csv, which need not be there")
    arguments = parser.parse_args()
    params, raw = load_params(), arguments.raw
    start = time.monotonic()
    interim = arguments.interim
    link(params, raw, interim, arguments.report, arguments.split_file)
    for split in SPLITS:
        keep_outdated(arguments.processed / f"{split}.beton", interim / f"{split}.images.json")
    print(f"Linked in {time.monotonic() - start:.1f} s: {interim}")
    if params.data.name in params.data.fetch:
        print(f"Do not edit {raw}: `dvc exp run` puts it back unasked. Your own images:")
        print(f"  cp -r {raw} {raw}-mine && dvc add {raw}-mine")
    elif not raw.with_name(f"{raw.name}.dvc").exists():
        print(f"WARNING: DVC does not know {raw}: nobody else can get these images, no older version is kept. Run\n")
        print(f"\tdvc add {raw}\n\tgit add {raw}.dvc\n")


if __name__ == "__main__":
    run(main)
