"""Tool continue: train on from the model of an experiment, as a new experiment: more epochs, or other images, classes
or params. docs/training.md says what is taken over."""

import argparse

from formwork.errors import run


def main() -> None:
    from formwork.tools.going_on import go_on

    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("start", nargs="?", default="workspace", help="an experiment, a revision, or workspace; default: %(default)s")
    add("--epochs", type=int, metavar="N", help="of the new training; default: as many as the experiment had")
    add("--name", help="of the new experiment; default: DVC makes one up")
    add("-S", "--set-param", action="append", default=[], metavar="KEY=VALUE", help="as of dvc exp run")
    a = parser.parse_args()
    go_on(a.start, a.epochs, a.name, a.set_param)


if __name__ == "__main__":
    run(main)
