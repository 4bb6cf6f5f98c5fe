"""load_model: a trained model, and what it sees in images."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from os import PathLike
from pathlib import Path

import numpy as np
import torch

from formwork import own
from formwork.loading.device import usable_device
from formwork.models.model_file import TrainedModel
from formwork.models.model_file import load_model as read_model
from formwork.prediction.preprocessing import Preprocessing
from formwork.prediction.sources import Source, listed, rgb_of
from formwork.tasks import task_of


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model of classes says of one image.

    Attributes:
        class_name, label: the likeliest class, and its number.
        probability: of that class.
        probabilities: (classes,) float32, of all of them, in the order of `class_names`.
        class_names: of the model.
    """

    class_name: str
    label: int
    probability: float
    probabilities: np.ndarray = field(repr=False)
    class_names: tuple[str, ...] = field(repr=False)

    def top(self, number: int) -> list[tuple[str, float]]:
        """The likeliest classes with their probabilities, the likeliest first; all of them where there are no more."""
        return [
            (self.class_names[label], float(self.probabilities[label]))
            for label in likeliest(self.probabilities, number)
        ]


def likeliest(probabilities: np.ndarray, number: int) -> np.ndarray:
    """(..., number) int64, the likeliest of (..., classes), the likeliest first; of equal ones, the first."""
    return np.argsort(-probabilities, axis=-1, kind="stable")[..., :number]


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
        model: the torch module, in evaluation mode: (B, 3, S, S) float32, normalised, to (B, outputs): logits of
            classes or labels, or numbers less settings.target_mean in units of settings.target_std. A recurrent one
            is shown each image over time as in training, and gives its answer; it also takes (B, T, 3, S, S), and gives
            (B, T, outputs) then.
        class_names: by label; of a model of numbers none. target_names: of the numbers.
        settings: of the dataset that it was trained on: task, resolution S, mean, std, augmentation lists.
        preprocessing: of single images, for programs that make batches of their own.
    """

    def __init__(self, trained: TrainedModel, device: torch.device):
        self.model = trained.network.to(device)
        self.settings = trained.settings
        self.class_names = tuple(trained.settings.class_names)
        self.target_names = tuple(trained.settings.target_names)
        self.preprocessing = Preprocessing(trained.settings)
        self._task = task_of(trained.settings)
        self._device = device

    def predict(self, images: Source | Iterable[Source], batch_size: int = 64) -> list[Prediction | Labels | Numbers]:
        """A prediction for each image, in their order; of the kind that settings.task has.

        Args:
            images: one or many: paths of files, arrays or tensors, or images of Pillow's; see
                formwork.prediction.sources.rgb_of.
            batch_size: images that are in memory and go through the network together.

        Raises:
            FormworkError: an image cannot be read, or is none.
        """
        return [self._prediction(row) for batch in self._batches(images, batch_size) for row in self.answers(batch)]

    def preprocess(self, images: Source | Iterable[Source]) -> torch.Tensor:
        """What `model` is given: (B, 3, S, S) float32, equal bit for bit to the batches of the validation loader on
        these images as the original files have them."""
        return self.preprocessing.normalise(self._batch(enumerate(listed(images))))

    def answers(self, images: torch.Tensor) -> np.ndarray:
        """(B, outputs) float32: probabilities of the classes or labels; or the numbers, in the user's units.

        Args:
            images: (B, 3, S, S), of preprocess or of Preprocessing.batch.
        """
        with torch.inference_mode():
            shown = self.preprocessing.normalise(images.to(self._device))
            return self._task.answers(self.model(shown)).cpu().numpy()

    def _batches(self, images: Source | Iterable[Source], batch_size: int) -> Iterator[torch.Tensor]:
        sources = enumerate(listed(images))
        while batch := list(islice(sources, batch_size)):
            yield self._batch(batch)

    def _batch(self, sources: Iterable[tuple[int, Source]]) -> torch.Tensor:
        """(B, 3, S, S) uint8."""
        return self.preprocessing.batch(
            self.preprocessing.training_image(rgb_of(source), sample) for sample, source in sources
        )

    def _prediction(self, answers: np.ndarray) -> Prediction | Labels | Numbers:
        """answers: (outputs,) float32."""
        if self.settings.task == "regression":
            return Numbers(dict(zip(self.target_names, answers.tolist(), strict=True)))
        if self.settings.task == "multilabel":
            chosen = np.flatnonzero(answers > 0.5).tolist()
            return Labels(tuple(self.class_names[label] for label in chosen), answers)
        label = int(answers.argmax())
        return Prediction(self.class_names[label], label, float(answers[label]), answers, self.class_names)


def load_model(path: str | PathLike[str], device: str | torch.device = "cpu") -> Model:
    """The model that the stage train wrote, ready to use.

        model = formwork.load_model("models/best.pt")
        for prediction in model.predict(["a.jpg", "b.png"]):
            print(prediction.class_name, prediction.probability)

    Code of the user in src/own is found in the repository that the file lies in.

    Args:
        device: where the network runs, as torch names it: "cpu", "cuda", ...; "auto" is a GPU where there is one.

    Raises:
        FormworkError: the file is missing or no model of this version; or there is no such device.
    """
    repository = own.repository_of(Path(path).parent)
    if repository:
        own.use(repository)
    return Model(read_model(Path(path)), usable_device(device))
