"""Tool recipe: set the params of a ready recipe in params.yaml, and show what changed; without a name, list them."""

import argparse

from formwork.errors import run


def main() -> None:
    from formwork.tools.recipe import apply_recipe, show_recipes

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="?", help="of a file of docs/recipes, or the path of another .yaml")
    a = parser.parse_args()
    apply_recipe(a.name) if a.name else show_recipes()


if __name__ == "__main__":
    run(main)
