"""The section `evaluate` of params.yaml."""

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field

from formwork.errors import did_you_mean
from formwork.params.fields import PositiveInt, Section, Seed, param


class Corruption(NamedTuple):
    """A way to spoil an image.

    Attributes:
        unit: what a severity is, for people.
        lowest, highest: severity that there can be.
        severities: those that are tried where params.yaml says none, the mildest first.
    """

    unit: str
    lowest: float
    highest: float
    severities: tuple[float, ...]


CORRUPTIONS = {
    "noise": Corruption("signal-to-noise ratio in dB", -60, 60, (20, 15, 10, 5, 0)),
    "blur": Corruption("standard deviation, as a share of the side", 0, 1, (0.01, 0.015, 0.02, 0.03, 0.05)),
    "contrast": Corruption("share of the contrast that is left", 0, 10, (0.75, 0.5, 0.3, 0.2, 0.1)),
    "brightness": Corruption("shift, as a share of the full range", -1, 1, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "jpeg": Corruption("quality", 1, 100, (50, 25, 15, 10, 5)),
    "occlusion": Corruption("share of the area that is hidden", 0, 1, (0.1, 0.2, 0.3, 0.4, 0.5)),
}


def _corruptions(value: Any) -> list[str | dict[str, list[float]]]:
    """A list whose entries are names, or names with severities of their own, checked. A name alone, and a mapping, are
    such a list, too."""
    entries = [] if value is None else [value] if isinstance(value, str) else value
    if isinstance(entries, dict):
        entries = [{name: severities} for name, severities in entries.items()]
    if not isinstance(entries, list) or not all(map(_is_entry, entries)):
        raise ValueError(f"must be a list of names, as `- noise`, or `- noise: [20, 10]`, and is {value!r}")
    names: list[str] = []
    for entry in entries:
        name = entry if isinstance(entry, str) else next(iter(entry))
        if name not in CORRUPTIONS:
            raise ValueError(f"there is no corruption {name!r}. {did_you_mean(name, CORRUPTIONS)}")
        if name in names:
            raise ValueError(f"{name} is there twice: give all its severities in one entry, `- {name}: [...]`")
        names.append(name)
    return [
        one if isinstance(one, str) else {name: _severities(name, given) for name, given in one.items()}
        for one in entries
    ]


def _is_entry(entry: object) -> bool:
    return isinstance(entry, str) or (
        isinstance(entry, dict) and len(entry) == 1 and isinstance(next(iter(entry)), str)
    )


def _severities(name: str, given: Any) -> list[float]:
    kind = CORRUPTIONS[name]
    if given is None:
        return list(kind.severities)
    severities = list(map(_number, given if isinstance(given, list) else [given]))
    if not severities:
        raise ValueError(f"{name} has no severities; those of `- {name}` in a list are {list(kind.severities)}")
    for one in severities:
        if not isinstance(one, (int, float)) or isinstance(one, bool) or not kind.lowest <= one <= kind.highest:
            raise ValueError(f"severities of {name} ({kind.unit}) go from {kind.lowest} to {kind.highest}, not {one!r}")
        if name == "jpeg" and one != int(one):
            raise ValueError(f"the quality of {name} is a whole number, not {one!r}")
    if len(set(severities)) < len(severities):
        raise ValueError(f"a severity of {name} is there twice: {given!r}")
    return severities


def _number(value: Any) -> Any:
    """A number in quotes is that number: other programs write 1e-3 so, to which it is text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


class Evaluate(Section):
    """What is measured of a trained model ([how](evaluation.md))."""

    worst_mistakes: PositiveInt = param(16, "Number of images in the picture of the worst mistakes.", unit="images")
    bootstrap: Annotated[int, Field(ge=0)] = param(
        1000, "Number of resamples for the 95 % intervals of all metrics; 0: no intervals.", unit="resamples"
    )
    tta: Literal["flip"] | None = param(
        None,
        "Test-time augmentation: `flip`: the model is shown each image and its mirror image, and the mean of both "
        "outputs counts. Not where a mirror image is something else, as with digits.",
    )
    corruptions: Annotated[list[str | dict[str, list[float]]], BeforeValidator(_corruptions)] = param(
        [],
        "What images are spoilt by to see how robust the model is ([which](evaluation.md#robustness)).",
        values="a list of `noise`, `blur`, `contrast`, `brightness`, `jpeg`, `occlusion`, each by its name, or with "
        "severities, as `noise: [20, 10]`",
    )
    seed: Seed = param(0, "What the resamples, and the noise and the places of corruptions, are drawn by.")

    @property
    def severities(self) -> dict[str, list[float]]:
        """Of each corruption that is tried, by its name."""
        found: dict[str, list[float]] = {}
        for entry in self.corruptions:
            found |= {entry: list(CORRUPTIONS[entry].severities)} if isinstance(entry, str) else entry
        return found
