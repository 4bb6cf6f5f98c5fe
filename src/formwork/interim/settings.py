"""dataset.json: the settings of a dataset, from params.yaml or worked out by link, as the later stages use them.

It is an output of link, so that a change to the settings of one dataset re-runs no stage of another.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from formwork.errors import DatasetError
from formwork.formats import write_json
from formwork.images.manifest import TRAINING
from formwork.images.row import Task
from formwork.params import Operations


class Settings(BaseModel):
    """The content of dataset.json.

    Attributes:
        name: of the dataset.
        task: what a model is to predict; see formwork.images.row.Columns.
        class_names: by label; of a regression none.
        target_names: of the numbers of a regression.
        target_mean, target_std: of each of them, over the training split; a std of 1 where they are all the same.
        splits: "train", "val", and "test" where there is one.
        resolution: side of the training images in pixels.
        mean, std: of each channel, in units of 0 to 1.
        augment_train, augment_val: the dataset's own augmentation lists, for runs without lists in params.yaml.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    task: Task = "classes"
    class_names: list[str]
    target_names: list[str] = []
    target_mean: list[float] = []
    target_std: list[float] = []
    splits: list[str] = list(TRAINING)
    resolution: int
    mean: list[float]
    std: list[float]
    augment_train: Operations
    augment_val: Operations

    @property
    def outputs(self) -> int:
        """Number of classes, labels or targets, and so of a model's outputs for each image."""
        return len(self.target_names or self.class_names)

    def write(self, path: Path) -> None:
        write_json(path, self.model_dump())


def read_settings(path: Path) -> Settings:
    """Raises DatasetError: the file is missing, damaged or cannot be read."""
    try:
        return Settings.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing. Run `dvc pull {path}`, or `dvc repro link` to make it.") from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is damaged or of another version. Run `dvc repro -f link`.") from error
