"""Tool docs: write docs/parameters.md from the fields of src/formwork/params, params.yaml and dvc.yaml."""

from pathlib import Path

from formwork.errors import run


def main() -> None:
    from formwork.files import write_text
    from formwork.tools.docs import PAGE, parameters_page

    write_text(Path(PAGE), parameters_page(Path()))


if __name__ == "__main__":
    run(main)
