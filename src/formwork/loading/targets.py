"""What a model is to predict for each image of a split, by sample id: from the manifest, for both loaders alike."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from formwork.errors import ParamsError
from formwork.images.manifest import Manifest
from formwork.images.row import SEPARATOR
from formwork.loading.order import Groups, groups_of


class Targets(ABC):
    """The targets of N images.

    Attributes:
        weights: (N,) float32, of each image in the training loss; None where the manifest has none.
    """

    def __init__(self, manifest: Manifest):
        weights = manifest.weights
        self.weights = None if weights is None else weights.astype(np.float32)

    @abstractmethod
    def of(self, ids: np.ndarray) -> np.ndarray:
        """Those of (B,) samples, in memory of their own: (B,) int64 classes, (B, labels) float32 of 0 and 1, or (B, K)
        float32 numbers."""

    @abstractmethod
    def mixed(self, ids: np.ndarray, places: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """Those of a batch of mixed images, as float32: of classes their probabilities (B, classes).

        Args:
            ids: (N,) of all samples, those of the batch first. places: (B,) of the partners there.
            shares: (B,) float64, how much of them is a sample's own; see formwork.loading.augmentation.mixup.Mix.
        """

    @abstractmethod
    def groups(self) -> Groups:
        """The samples of each class or label, and those without any label, for the order `class_balanced`.

        Raises:
            ParamsError: there are no classes.
        """

    @abstractmethod
    def counts(self) -> tuple[np.ndarray, int]:
        """(K,) how many images have each class or label, and N."""

    @abstractmethod
    def having(self, label: int) -> np.ndarray:
        """Sample ids of the images that have a class or label."""

    def weights_of(self, ids: np.ndarray) -> np.ndarray:
        """(B,) float32."""
        assert self.weights is not None
        return self.weights[ids]

    def mixed_weights(self, ids: np.ndarray, places: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """(B,) float32, see `mixed`."""
        return _mix(self.weights_of(ids), places, shares)


def targets_of(manifest: Manifest, class_names: Sequence[str]) -> Targets:
    """The targets of a manifest.

    Args:
        class_names: all classes or labels, in their order.
    """
    if manifest.task == "classes":
        return ClassTargets(manifest, len(class_names))
    return LabelTargets(manifest, class_names) if manifest.task == "multilabel" else NumberTargets(manifest)


class ClassTargets(Targets):
    def __init__(self, manifest: Manifest, classes: int):
        super().__init__(manifest)
        self.labels, self.classes = manifest.labels, classes

    def of(self, ids: np.ndarray) -> np.ndarray:
        return self.labels[ids]

    def mixed(self, ids: np.ndarray, places: np.ndarray, shares: np.ndarray) -> np.ndarray:
        rows, labels = np.arange(len(places)), self.labels[ids]
        out = np.zeros((len(places), self.classes), np.float32)
        out[rows, labels[: len(places)]] = shares
        out[rows, labels[places]] += 1 - shares
        return out

    def groups(self) -> Groups:
        return groups_of(self.labels, np.arange(len(self.labels)))

    def counts(self) -> tuple[np.ndarray, int]:
        return np.bincount(self.labels, minlength=self.classes), len(self.labels)

    def having(self, label: int) -> np.ndarray:
        return np.flatnonzero(self.labels == label)


class LabelTargets(Targets):
    """Of images that have any number of labels each. Images with the same labels share them in memory."""

    def __init__(self, manifest: Manifest, names: Sequence[str]):
        super().__init__(manifest)
        numbers = {name: number for number, name in enumerate(names)}
        column = manifest.table.column("labels").combine_chunks()
        sets = [[numbers[name] for name in text.split(SEPARATOR) if text] for text in column.dictionary.to_pylist()]
        self.codes = column.indices.to_numpy()
        self.sizes = np.array([len(labels) for labels in sets], np.int64)
        self.ends = np.cumsum(self.sizes)
        self.labels = np.array([label for labels in sets for label in labels], np.int64)
        self.count = len(names)

    def pairs(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Place in `ids` and label, of each label of each sample."""
        codes = self.codes[ids]
        sizes = self.sizes[codes]
        ends = np.cumsum(sizes)
        places = np.repeat(np.arange(len(ids)), sizes)
        within = np.arange(len(places)) - np.repeat(ends - sizes, sizes)
        return places, self.labels[np.repeat(self.ends[codes] - sizes, sizes) + within]

    def of(self, ids: np.ndarray) -> np.ndarray:
        out = np.zeros((len(ids), self.count), np.float32)
        out[self.pairs(ids)] = 1
        return out

    def mixed(self, ids: np.ndarray, places: np.ndarray, shares: np.ndarray) -> np.ndarray:
        return _mix(self.of(ids), places, shares)

    def groups(self) -> Groups:
        samples, labels = self.pairs(np.arange(len(self.codes)))
        without = np.flatnonzero(self.sizes[self.codes] == 0)
        none = np.full(len(without), self.count)
        return groups_of(np.concatenate([labels, none]), np.concatenate([samples, without]))

    def counts(self) -> tuple[np.ndarray, int]:
        _, labels = self.pairs(np.arange(len(self.codes)))
        return np.bincount(labels, minlength=self.count), len(self.codes)

    def having(self, label: int) -> np.ndarray:
        samples, labels = self.pairs(np.arange(len(self.codes)))
        return samples[labels == label]


class NumberTargets(Targets):
    def __init__(self, manifest: Manifest):
        super().__init__(manifest)
        self.numbers = manifest.targets.astype(np.float32)

    def of(self, ids: np.ndarray) -> np.ndarray:
        return self.numbers[ids]

    def mixed(self, ids: np.ndarray, places: np.ndarray, shares: np.ndarray) -> np.ndarray:
        return _mix(self.numbers[ids], places, shares)

    def groups(self) -> Groups:
        raise ParamsError("ffcv.order: class_balanced needs classes, and this dataset has numbers. Choose another.")

    def counts(self) -> tuple[np.ndarray, int]:
        return np.zeros(0, np.int64), len(self.numbers)

    def having(self, label: int) -> np.ndarray:
        return np.zeros(0, np.int64)


def _mix(values: np.ndarray, places: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Values (N, ...) of samples blended with those of their partners: (B, ...) float32."""
    share = shares.reshape(-1, *(1,) * (values.ndim - 1))
    return (values[: len(places)] * share + values[places] * (1 - share)).astype(np.float32)
