"""dataset.json: what link found out or looked up about a dataset as a whole, for the stages after it.

It is an out of link, so that a change to the settings of one dataset re-runs nothing of another.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from formwork.errors import DatasetError
from formwork.formats import write_json
from formwork.params import Operations


class Settings(BaseModel):
    """Attributes:
    name: of the dataset.
    class_names: the name of each label.
    resolution: side of the training images in pixels.
    mean, std: by channel, in units of 0 to 1.
    augment_train, augment_val: the dataset's own augmentation lists.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    class_names: list[str]
    resolution: int
    mean: list[float]
    std: list[float]
    augment_train: Operations
    augment_val: Operations

    def write(self, path: Path) -> None:
        write_json(path, self.model_dump())


def read_settings(path: Path) -> Settings:
    """Raises DatasetError: it is missing or damaged."""
    try:
        return Settings.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing. Run `dvc pull {path}`, or `dvc repro link` to make it.") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is damaged or of another version. Run `dvc repro -f link`.") from error
