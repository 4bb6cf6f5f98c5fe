"""Stage train: train a model on the betons, or on the original images."""

import argparse
import os
from pathlib import Path

from formwork.errors import run


def main() -> None:
    from formwork import launch, signals
    from formwork.files import check_writable
    from formwork.folders import Folders
    from formwork.meeting import Meeting
    from formwork.params import load_params
    from formwork.startup import large_imports

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("raw", type=Path, help="data/raw/<name>")
    parser.add_argument("interim", type=Path, help="data/interim/<name>")
    parser.add_argument("processed", type=Path, help="data/processed/<name>")
    parser.add_argument("model", type=Path, help="file for the best model")
    parser.add_argument("results", type=Path, help="folder for metrics and curves")
    parser.add_argument("speed", type=Path, help="folder for wall-clock figures")
    parser.add_argument(
        "--initial", type=Path, default="models/initial.safetensors", help="file of the initial weights"
    )
    a = parser.parse_args()
    process = launch.this_process()
    if process is None and (launcher := os.environ.get(launch.LAUNCHER)):
        launch.start_on_all_nodes(launcher)
    with Meeting(process) as meeting:
        params = load_params()  # its mistakes are told before anything large is imported
        devices = params.trainer.devices
        launch.check(process, params.trainer.num_nodes, None if devices == "auto" else devices)
        if meeting.first and not signals.led():  # the process that writes
            check_writable(a.model, a.results / "metrics.json", a.speed / "metrics.json")  # before the work of hours
        with large_imports():
            from formwork.training.fit import train
        train(params, Folders(a.raw, a.interim, a.processed), a.model, a.results, a.speed, meeting, a.initial)


if __name__ == "__main__":
    run(main)
