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

Source: TypeAlias = str | PathLike[str] | np.ndarray | Image.Image
"""An image file, (H, W, 3) uint8 RGB pixels, or an image of Pillow's."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of one image.

    Attributes:
        class_name, label: the likeliest class, and its number.
        probability: of that class.
        probabilities: (classes,) float32, of all of them, in the order of Model.class_names.
    """

    class_name: str
    label: int
    probability: float
    probabilities: np.ndarray = field(repr=False)


class Model:
    """A trained model, with the preprocessing that it was validated with.

    Attributes:
        network: the torch module, in evaluation mode: (B, 3, S, S) float32, normalised, to (B, classes) logits. A
            recurrent one also takes (B, T, 3, S, S), and gives (B, T, classes) then.
        class_names: by label.
        settings: of the dataset that it was trained on: resolution S, mean, std, augmentation lists.
    """

    def __init__(self, trained: TrainedModel, device: str | torch.device = "cpu"):
        self.network = trained.network.to(device)
        self.settings = trained.settings
        self.class_names = tuple(trained.settings.class_names)
        self._device = torch.device(device)
        self._timesteps = trained.timesteps
        self._augmentation = Augmentation(self.settings.augment_val, self.settings.resolution, 0, "augment.val")
        self._normal = shift_and_scale(self.settings.mean, self.settings.std)

    def predict(self, images: Source | Iterable[Source], batch_size: int = 64) -> list[Prediction]:
        """A prediction for each image, in their order.

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

    def _predict(self, images: torch.Tensor) -> list[Prediction]:
        with torch.inference_mode():
            images = images.to(self._device)
            if self._timesteps > 1:
                logits = self.network(images.unsqueeze(1).expand(-1, self._timesteps, -1, -1, -1))[:, -1]
            else:
                logits = self.network(images)
            probabilities = logits.softmax(dim=1).cpu().numpy()
        labels = probabilities.argmax(axis=1).tolist()
        return [
            Prediction(self.class_names[label], label, float(row[label]), row)
            for label, row in zip(labels, probabilities, strict=True)
        ]


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
