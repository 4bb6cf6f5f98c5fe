"""export: write a trained model in the format of another program, once it answers there as it does here."""

import hashlib
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from formwork.errors import FormworkError, did_you_mean
from formwork.escapes import printable
from formwork.files import atomic_write, check_writable
from formwork.folders import Folders
from formwork.formats import write_json
from formwork.models.model_file import TrainedModel, load_model
from formwork.own import repository_of, use
from formwork.prediction.preprocessing import Preprocessing
from formwork.text import count
from formwork.tools.export.description import describe
from formwork.tools.export.formats import FORMATS, Runner, answers_of, need, quiet, write
from formwork.tools.predict.arguments import Named, find_images
from formwork.tools.predict.reading import training_image

CHECKED = 64  # images
BOUND = 1e-4  # of differences: in probability, or in standard deviations of a target
NOISE = "of noise, as the validation split is not there"


@dataclass(frozen=True)
class Exported:
    """files: the model and what describes it. images: what it was checked on, for people. difference: the largest."""

    files: tuple[Path, Path]
    images: str
    difference: float

    def __str__(self) -> str:
        return (
            f"{printable(self.files[0])}, described in {printable(self.files[1])}: its answers differ from the model's "
            f"by {self.difference:.2g} at most, on {self.images}."
        )


def export(model: Path, name: str | None, output: Path, check: Path | None = None) -> Exported:
    """Write a model, and FILE.json beside it; both, or neither.

    Args:
        model: as the stage train writes it, or of the format safetensors.
        name: of the format; None: what the extension of `output` says.
        output: a file, or a folder for one called as the model.
        check: images to compare the answers on, see find_images; None: some of the validation split, where it is there.

    Raises:
        FormworkError: a package is missing; the network or the file cannot be written; or the answers differ.
    """
    name, output = _target(model, name, output)
    need(name)
    about_file = output.with_name(f"{output.name}.json")
    check_writable(output, about_file)
    repository = repository_of(model.parent)
    if repository:
        use(repository)
    trained = load_model(model)
    data = write(name, trained)
    images, what = _images(trained, check, repository)
    with quiet():
        difference = _difference(trained, FORMATS[name].open(data, trained), images)
    if not difference <= BOUND:
        raise FormworkError(
            f"The {name} file would answer otherwise than {printable(model)}: by up to {difference:.2g} on {what}, "
            f"where {BOUND:g} is allowed for rounding. Nothing was written."
        )
    about = describe(name, trained, FORMATS[name].packages)
    about["file"] = {"name": output.name, "sha256": hashlib.sha256(data).hexdigest()}
    about["checked"] = {"on": what, "largest_difference": difference}
    with atomic_write(output) as file:
        file.write(data)
    write_json(about_file, about)
    return Exported((output, about_file), what, difference)


def _target(model: Path, name: str | None, output: Path) -> tuple[str, Path]:
    """The format and the file. Raises FormworkError: they contradict each other."""
    if name is not None and name not in FORMATS:
        raise FormworkError(f"--format {name}: there is no such format. {did_you_mean(name, FORMATS)}")
    if output.is_dir():
        if name is None:
            raise FormworkError(f"{printable(output)} is a folder: say with --format what to write there.")
        return name, output / f"{model.stem}{FORMATS[name].extension}"
    by_extension = {kind.extension: known for known, kind in FORMATS.items()}
    said = by_extension.get(output.suffix.lower())
    if said is None or name not in (None, said):
        wanted = FORMATS[name].extension if name else " or ".join(by_extension)
        raise FormworkError(f"--output {printable(output)}: the name must end in {wanted}.")
    if output.absolute() == model.absolute():
        raise FormworkError(f"--output {printable(output)} is the model itself: name another file.")
    return said, output


def _images(trained: TrainedModel, check: Path | None, repository: Path | None) -> tuple[torch.Tensor, str]:
    """(N, 3, S, S) float32, what the network is given, and what images these are, for people.

    Raises:
        FormworkError: `check` names no sound image.
    """
    preprocessing = Preprocessing(trained.settings)
    manifest = Folders.of(trained.settings.name, repository or Path()).manifest("val")
    pixels = _read(preprocessing, check or manifest) if check or manifest.is_file() else []
    if pixels:
        what = f"{count(len(pixels), 'image')} of {printable(check) if check else 'the validation split'}"
        return preprocessing.normalise(preprocessing.batch(pixels)), what
    if check:
        raise FormworkError(f"--check {printable(check)}: there is no sound image.")
    side = trained.settings.resolution
    noise = np.random.default_rng(0).integers(0, 256, (CHECKED, 3, side, side), np.uint8)
    return preprocessing.normalise(torch.from_numpy(noise)), f"{CHECKED} images {NOISE}"


def _read(preprocessing: Preprocessing, place: Path) -> list[torch.Tensor]:
    """A few training images, evenly chosen."""
    named: list[Named] = [image for part in find_images([str(place)]) for image in part]
    few = islice(named, 0, None, -(-len(named) // CHECKED) or 1)
    found = (training_image(preprocessing, image, number) for number, image in enumerate(few))
    return [image for image in found if isinstance(image, torch.Tensor)]


def _difference(trained: TrainedModel, run: Runner, images: torch.Tensor) -> float:
    """The largest between answers, over all images at once and the first by itself; nan where any is no number."""
    module = answers_of(trained)
    unit = np.array(trained.settings.target_std or 1.0, np.float32)
    found = []
    for batch in (images, images[:1]):
        with torch.inference_mode():
            expected = module(batch).numpy()
        answers = run(batch.contiguous().numpy())
        if answers.shape != expected.shape:
            return float("nan")
        found.append(float(np.max(np.abs(answers - expected) / unit)))
    return float(np.max(found))
