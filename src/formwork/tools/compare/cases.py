"""What is compared: params that differ from those of the workspace in a few settings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from formwork.errors import ParamsError
from formwork.escapes import printable
from formwork.params import Params
from formwork.params.read import NAME, params_of
from formwork.params.repository import check_group
from formwork.params.undo import OUTPUTS
from formwork.text import clip
from formwork.tools.experiments.pipeline import DATA, value_at
from formwork.tools.experiments.settings import apply_settings, expand, keys_of, split_settings, with_new_keys
from formwork.yaml import read_yaml

LOADER = "data.use_ffcv"
LOADERS = (f"{LOADER}=true", f"{LOADER}=false")
AS_IT_IS = NAME
"""The name of the case that has no settings."""
LONGEST = 60  # columns of a name


@dataclass(frozen=True)
class Case:
    """One of the things that are compared. With the data and code of the workspace, and a seed, it says all of a run.

    Attributes:
        name: that tables have.
        settings: as `dvc exp run -S` takes them; none for the params as they are.
        content: of params.yaml with the settings. params: the same, checked.
    """

    name: str
    settings: tuple[str, ...]
    content: Mapping[str, Any]
    params: Params

    @property
    def asked_for(self) -> str:
        """The loader, as metrics call it."""
        return "ffcv" if self.params.data.use_ffcv else "pytorch"

    @property
    def seed(self) -> int:
        return self.params.seed

    @property
    def sets_seed(self) -> bool:
        return "seed" in keys_of(self.settings)

    def with_seed(self, seed: int) -> "Case":
        """The case with another seed, in its settings, too."""
        if self.sets_seed:
            return self
        settings = (*self.settings, f"seed={seed}")
        content = {**self.content, "seed": seed}
        return replace(self, settings=settings, content=content, params=self.params.model_copy(update={"seed": seed}))

    def __str__(self) -> str:
        return f"{self.name}, seed {self.seed}"


def read_cases(asked: Sequence[str], root: Path) -> list[Case]:
    """The cases that `-S` asks for: the loaders, if there is none; with one, what it gives and the params as they are.

    Raises:
        ParamsError: a setting cannot be read, or params.yaml cannot have it; or there are not at least two cases that
            differ.
    """
    content = read_yaml(root / NAME)
    wanted = [settings for one in asked or LOADERS for settings in expand(split_settings(one))]
    if len(wanted) == 1:
        wanted.insert(0, [])
    made = [_case(settings, content, root) for settings in wanted]
    for place, one in enumerate(made):
        for other in made[:place]:
            if one.content == other.content:
                raise ParamsError(f"{other.name} and {one.name} are the same params: there is nothing to compare.")
    return list(_named(made))


def of_loaders(cases: Sequence[Case]) -> bool:
    """Whether two cases differ in the loader and nothing else, so that seconds are what is compared."""
    if len(cases) != 2 or any(set(keys_of(case.settings)) - {LOADER, "seed"} for case in cases):
        return False
    return {case.params.data.use_ffcv for case in cases} == {True, False}


def _case(settings: Sequence[str], content: dict[str, Any], root: Path) -> Case:
    settings = with_new_keys(settings, content)
    words = ",".join(settings)
    changed = apply_settings(root / NAME, settings) if settings else content
    params = params_of(changed, f"{NAME} with -S {printable(words)}" if words else NAME, root)
    for key in map(".".join, sorted(OUTPUTS)):
        if value_at(changed, key) != value_at(content, key):
            raise ParamsError(
                f"-S {printable(words)}: a comparison is of one dataset, which {key} decides. Set it in {NAME}, run "
                f"`dvc repro {DATA}`, and compare there."
            )
    try:
        check_group(params)
    except ParamsError as error:
        raise ParamsError(f"-S {printable(words)}: {error}" if words else str(error)) from error
    return Case(words or AS_IT_IS, tuple(settings), changed, params)


def _named(cases: Sequence[Case]) -> Iterator[Case]:
    """The cases by names that tables have room for: without the settings that all of them share, and each another."""
    if of_loaders(cases):
        yield from (replace(case, name=case.asked_for) for case in cases)
        return
    shared = set.intersection(*(set(case.settings) for case in cases))
    taken: set[str] = set()
    for number, case in enumerate(cases, start=1):
        own = [setting.lstrip("+") for setting in case.settings if setting not in shared]
        name = clip(printable(", ".join(own)), LONGEST) or AS_IT_IS
        name = f"{name} ({number})" if name in taken else name
        taken.add(name)
        yield replace(case, name=name)
