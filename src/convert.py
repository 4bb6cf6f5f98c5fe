"""Stage convert@<split>: write the images of a manifest to a beton."""

import argparse
import os
from pathlib import Path

from formwork.errors import run


def main() -> None:
    from formwork.beton.read import open_beton
    from formwork.cluster.executor import cluster_executor
    from formwork.conversion.meaning import write_meaning
    from formwork.conversion.write import write_beton
    from formwork.earlier_parts import REPACK, forget
    from formwork.files import check_writable
    from formwork.formats import write_json
    from formwork.images.containers import sample_files
    from formwork.images.manifest import read_manifest
    from formwork.params import load_params
    from formwork.system import machine_id

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("raw", type=Path, help="data/raw/<name>")
    parser.add_argument("manifest", type=Path, help="data/interim/<name>/<split>.csv")
    parser.add_argument("beton", type=Path, help="data/processed/<name>/<split>.beton")
    parser.add_argument("meaning", type=Path, help="JSON of what the beton means, whatever its form")
    parser.add_argument("metrics", type=Path, help="JSON of what was stored")
    parser.add_argument("speed", type=Path, help="JSON of wall-clock figures")
    arguments = parser.parse_args()
    params = load_params()
    check_writable(arguments.metrics, arguments.speed, arguments.meaning)  # before the work of hours
    manifest, path = read_manifest(arguments.manifest), arguments.beton
    repack, workers = os.environ.get(REPACK) == "1", params.data.num_workers
    seen = sample_files(arguments.raw, manifest.paths)
    with cluster_executor(params.cluster, "convert", path.parent, seen, whole_workers=True) as cluster:
        summary = write_beton(manifest, arguments.raw, path, params.ffcv.beton, workers, repack, cluster)
    written = open_beton(path).of_manifest(manifest) if len(manifest) else None
    write_meaning(arguments.meaning, manifest, params.ffcv.beton, written)
    write_json(arguments.metrics, summary.metrics())
    write_json(arguments.speed, {**summary.speed(), "machine_id": machine_id()})
    forget(path)  # once nothing can fail any more
    print(f"{path.name}: {summary}")


if __name__ == "__main__":
    run(main)
