"""Stage convert@<split>: write the images of a manifest to a beton."""

import argparse
from pathlib import Path

from formwork.errors import run


def main() -> None:
    from formwork.conversion.write import write_beton
    from formwork.files import check_writable
    from formwork.formats import write_json
    from formwork.images.manifest import read_manifest
    from formwork.params import load_params
    from formwork.system import machine_id

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("raw", type=Path, help="data/raw/<name>")
    parser.add_argument("manifest", type=Path, help="data/interim/<name>/<split>.csv")
    parser.add_argument("beton", type=Path, help="data/processed/<name>/<split>.beton")
    parser.add_argument("metrics", type=Path, help="JSON of what was stored")
    parser.add_argument("speed", type=Path, help="JSON of wall-clock figures")
    arguments = parser.parse_args()
    params = load_params()
    check_writable(arguments.metrics, arguments.speed)  # before the work of hours
    summary = write_beton(
        read_manifest(arguments.manifest),
        arguments.raw,
        arguments.beton,
        params.ffcv.beton,
        params.data.num_workers,
    )
    write_json(arguments.metrics, summary.metrics())
    write_json(arguments.speed, {**summary.speed(), "machine_id": machine_id()})
    print(f"{arguments.beton.name}: {summary}")


if __name__ == "__main__":
    run(main)
