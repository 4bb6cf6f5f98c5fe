"""Tool summary: what the current run came to, in a few lines; `dvc metrics show` has all figures."""

from pathlib import Path

from formwork.errors import run

RESULTS = Path("results")
PLOTS = ("plots", f"{RESULTS}/; as pages: `dvc plots show`, `make report`")


def main() -> None:
    from formwork.params import load_params
    from formwork.text import columns
    from formwork.tools.summary import summary

    print(columns([*summary(load_params(), RESULTS), PLOTS]))


if __name__ == "__main__":
    run(main)
