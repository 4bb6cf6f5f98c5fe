"""load_model: a trained model, and what it sees in images."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from os import PathLike, fspath
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image

from formwork import own
from formwork.errors import DatasetError, FormworkError
from formwork.images.pixels import read_rgb, to_rgb
from formwork.limits import of_the_run
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.dtypes import normalise, shift_and_scale
from formwork.loading.transforms import carry_out, channels_last
from formwork.models.model_file import TrainedModel
from formwork.models.model_file import load_model as read_model
from formwork.tasks import task_of

Source: TypeAlias = str | PathLike[str] | np.ndarray | Image.Image
"""An image file, (H, W, 3) uint8 RGB pixels, or an image of Pillow's."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model of classes says of one image.

    Attributes:
        class_name, label: the likeliest class, and its number.
        probability: of that class.
        probabilities: (classes,) float32, of all of them, in the order of Model.class_names.
    """

    class_name: str
    label: int
    probability: float
    probabilities: np.ndarray = field(repr=False)


@dataclass(frozen=True, eq=False)
class Labels:
    """What a model of labels, of which an image has any number, says of one image.

    Attributes:
        labels: those that are more probable than not.
        probabilities: (labels,) float32, of all of them, in the order of Model.class_names.
    """

    labels: tuple[str, ...]
    probabilities: np.ndarray = field(repr=False)


@dataclass(frozen=True, eq=False)
class Numbers:
    """What a model of numbers says of one image.

    Attributes:
        targets: the numbers by name, in the user's units.
    """

    targets: dict[str, float]


class Model:
    """A trained model, with the preprocessing that it was validated with.

    Attributes:
        network: the torch module, in evaluation mode: (B, 3, S, S) float32, normalised, to (B, outputs): logits of
            classes or labels, or numbers less settings.target_mean in units of settings.target_std. A recurrent one
            is shown each image over time as in training, and gives its answer; it also takes (B, T, 3, S, S), and gives
            (B, T, outputs) then.
        class_names: by label; of a model of numbers none. target_names: of the numbers.
        settings: of the dataset that it was trained on: task, resolution S, mean, std, augmentation lists.
    """

    def __init__(self, trained: TrainedModel, device: str | torch.device = "cpu"):
        self.network = trained.network.to(device)
        self.settings = trained.settings
        self.class_names = tuple(trained.settings.class_names)
        self.target_names = tuple(trained.settings.target_names)
        self._task = task_of(trained.settings)
        self._device = torch.device(device)
        self._augmentation = Augmentation(self.settings.augment_val, self.settings.resolution, 0, "augment.val")
        self._normal = shift_and_scale(self.settings.mean, self.settings.std)

    def predict(self, images: Source | Iterable[Source], batch_size: int = 64) -> list[Prediction | Labels | Numbers]:
        """A prediction for each image, in their order; of the kind that settings.task has.

        Args:
            images: one or many: paths of files, (H, W, 3) uint8 RGB arrays, or images of Pillow's.
            batch_size: images that are in memory and go through the network together.

        Raises:
            FormworkError: an image cannot be read, or an array is no RGB image.
        """
        return [prediction for batch in self._batches(images, batch_size) for prediction in self._predict(batch)]

    def preprocess(self, images: Source | Iterable[Source]) -> torch.Tensor:
        """What the network is given: (B, 3, S, S) float32, equal bit for bit to the batches of the validation loader on
        these images as the original files have them."""
        return self._batch(enumerate(_sources(images)))

    def _batches(self, images: Source | Iterable[Source], batch_size: int) -> Iterator[torch.Tensor]:
        sources = enumerate(_sources(images))
        while batch := list(islice(sources, batch_size)):
            yield self._batch(batch)

    def _batch(self, sources: Iterable[tuple[int, Source]]) -> torch.Tensor:
        images = [self._preprocess(sample, _pixels(source)) for sample, source in sources]
        return channels_last(images, torch.float32, self.settings.resolution)

    def _preprocess(self, sample: int, image: Image.Image) -> torch.Tensor:
        """(3, S, S) float32."""
        plan = self._augmentation.plan(0, *(np.array([n]) for n in (sample, image.height, image.width)))
        return normalise(carry_out(self._augmentation, plan, 0, image, 0, sample), self._normal)

    def _predict(self, images: torch.Tensor) -> list[Prediction | Labels | Numbers]:
        with torch.inference_mode():
            answers = self._task.answers(self.network(images.to(self._device))).cpu().numpy()
        return [self._prediction(row) for row in answers]

    def _prediction(self, answers: np.ndarray) -> Prediction | Labels | Numbers:
        """answers: (outputs,) float32."""
        if self.settings.task == "regression":
            return Numbers(dict(zip(self.target_names, answers.tolist(), strict=True)))
        if self.settings.task == "multilabel":
            chosen = np.flatnonzero(answers > 0.5).tolist()
            return Labels(tuple(self.class_names[label] for label in chosen), answers)
        label = int(answers.argmax())
        return Prediction(self.class_names[label], label, float(answers[label]), answers)


def load_model(path: str | PathLike[str], device: str | torch.device = "cpu") -> Model:
    """The model that the stage train wrote, ready to use.

        model = formwork.load_model("models/best.pt")
        for prediction in model.predict(["a.jpg", "b.png"]):
            print(prediction.class_name, prediction.probability)

    Code of the user in src/own is found in the repository that the file lies in.

    Args:
        device: where the network runs, as torch names it: "cpu", "cuda", ...

    Raises:
        FormworkError: the file is missing or no model of this version.
    """
    repository = own.repository_of(Path(path).parent)
    if repository:
        own.use(repository)
    return Model(read_model(Path(path)), device)


def _sources(images: Source | Iterable[Source]) -> Iterable[Source]:
    if isinstance(images, np.ndarray):
        return [images] if images.ndim == 3 else iter(images)
    return [images] if isinstance(images, (str, PathLike, Image.Image)) else images


def _pixels(source: Source) -> Image.Image:
    """Upright 8-bit RGB."""
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or not source.size:
            raise FormworkError(
                f"An image must be an array (H, W, 3) of uint8, RGB, and one is {source.shape} of {source.dtype}."
            )
        return Image.fromarray(source)
    try:
        return to_rgb(source) if isinstance(source, Image.Image) else read_rgb(Path(fspath(source)))
    except (OSError, MemoryError) as error:
        name = "An image" if isinstance(source, Image.Image) else fspath(source)
        reason = of_the_run(name, error) or f"{name} cannot be used: {getattr(error, 'strerror', None) or error}."
        raise DatasetError(reason) from error
