"""params.yaml as typed, checked values."""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from formwork.errors import ParamsError, did_you_mean

Operations = list[dict[str, dict[str, Any]]]
"""An augmentation list: one mapping an operation, its name to its arguments; see formwork.loading.augmentation."""


def _float(value: object) -> object:
    """YAML reads 1e-3 as a string: PyYAML follows YAML 1.1, which wants 1.0e-3. Both mean the number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


Float = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_float)]
PositiveFloat = Annotated[Float, Field(gt=0)]
Fraction = Annotated[Float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Triple = Annotated[list[Float], Field(min_length=3, max_length=3)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Data(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    fetch: list[str] = []
    group: str = "all"
    use_ffcv: bool = True
    val_fraction: Annotated[Float, Field(gt=0, lt=1)] = 0.2
    on_bad_image: Literal["error", "skip"] = "error"
    on_duplicate: Literal["report", "error", "skip"] = "report"
    batch_size: PositiveInt = 64
    num_workers: Annotated[int, Field(ge=0)] = 2
    dtype: Literal["float32", "float16", "bfloat16", "uint8"] = "float32"


class BetonParams(Section):
    write_mode: Literal["jpg", "raw", "smart", "proportion"] = "smart"
    smart_threshold: PositiveFloat = 2.0
    compress_probability: Fraction = 0.5
    seed: Seed = 0
    max_resolution: Annotated[int, Field(ge=1, le=65500)] | None = None
    passthrough: bool = True
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 90
    chroma_subsampling: Literal[444, 422, 420] = 420


class Ffcv(Section):
    os_cache: bool = True
    order: Literal["sequential", "random", "quasi_random"] = "quasi_random"
    distributed: bool = False
    batches_ahead: PositiveInt = 3
    resolution_schedule: list[Annotated[list[PositiveInt], Field(min_length=2, max_length=2)]] | None = None
    fallback: Literal["warn", "error"] = "warn"
    beton: BetonParams = BetonParams()

    @field_validator("resolution_schedule")
    @classmethod
    def _epochs_follow_each_other(cls, schedule: list[list[int]] | None) -> list[list[int]] | None:
        epochs = [epoch for epoch, _ in schedule or []]
        if any(second <= first for first, second in pairwise(epochs)):
            raise ValueError(f"the epochs of its [epoch, resolution] pairs must increase, and are {epochs}")
        return schedule


class Augment(Section):
    train: Operations | None = None
    val: Operations | None = None


class Model(Section):
    name: Literal["small_cnn", "resnet18", "rcnn"] = "small_cnn"
    timesteps: PositiveInt = 1

    @model_validator(mode="after")
    def _only_a_recurrent_model_has_time(self) -> "Model":
        if self.timesteps > 1 and self.name != "rcnn":
            raise ValueError(f"timesteps above 1 need the recurrent model rcnn, not {self.name}")
        return self


class Train(Section):
    lr: PositiveFloat = 0.003
    weight_decay: Annotated[Float, Field(ge=0)] = 0.01
    label_smoothing: Annotated[Float, Field(ge=0, lt=1)] = 0.0


class Trainer(Section):
    max_epochs: PositiveInt = 12
    devices: PositiveInt | Literal["auto"] = 1
    strategy: str = "auto"
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true"] = "32-true"
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    checkpoint_minutes: Annotated[Float, Field(ge=0)] | None = 5.0


class Evaluate(Section):
    worst_mistakes: PositiveInt = 16


class NoOptions(Section):
    """Of a source that always makes the same dataset."""


class ImagenetteSource(Section):
    size: Literal["full", "320px", "160px"] = "320px"


class SyntheticSource(Section):
    images: PositiveInt = 2000
    classes: PositiveInt = 10
    seed: Seed = 0


class Sources(Section):
    """Options of each module of formwork.sources; these names are those that data.fetch may list."""

    digits: NoOptions = NoOptions()
    mnist: NoOptions = NoOptions()
    cifar10: NoOptions = NoOptions()
    cifar100: NoOptions = NoOptions()
    imagenette: ImagenetteSource = ImagenetteSource()
    synthetic: SyntheticSource = SyntheticSource()


class Dataset(Section):
    resolution: Annotated[int, Field(ge=1, le=16384)] | Literal["auto"] = "auto"
    mean: Triple | Literal["auto"] = "auto"
    std: Annotated[list[PositiveFloat], Field(min_length=3, max_length=3)] | Literal["auto"] = "auto"
    augment: Augment = Augment()
    groups: dict[str, list[str | int]] = {}


class Params(Section):
    """The whole of params.yaml. Its comments there say what each value means."""

    data: Data
    ffcv: Ffcv = Ffcv()
    augment: Augment = Augment()
    model: Model = Model()
    train: Train = Train()
    trainer: Trainer = Trainer()
    evaluate: Evaluate = Evaluate()
    seed: Seed = 0
    sources: Sources = Sources()
    datasets: dict[str, Dataset] = {}

    @model_validator(mode="after")
    def _parts_fit_together(self) -> "Params":
        if self.trainer.devices != "auto" and self.trainer.devices > 1:
            if not self.ffcv.distributed:
                raise ValueError(
                    f"trainer.devices is {self.trainer.devices} while ffcv.distributed is false: every device would "
                    "train on the same images. Set ffcv.distributed: true, or trainer.devices: 1"
                )
            if self.data.batch_size % self.trainer.devices:
                raise ValueError(
                    f"data.batch_size {self.data.batch_size} cannot be shared equally by trainer.devices "
                    f"{self.trainer.devices}: use a multiple of {self.trainer.devices}"
                )
        return self

    @property
    def dataset(self) -> Dataset:
        """The entry of datasets for data.name; defaults where there is none."""
        return self.datasets.get(self.data.name, Dataset())


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml.

    Raises:
        ParamsError: naming every unknown key (with the nearest known one), wrong type and value out of range; or the
            file cannot be read.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ParamsError(f"{path} is missing. Run from the root of the repository.") from error
    except OSError as error:
        raise ParamsError(f"{path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} is no valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ParamsError(f"{path} must hold a mapping of sections, and holds {type(raw).__name__}.")
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise ParamsError("\n".join([f"{path}:", *_explain(error)])) from error


def _explain(error: ValidationError) -> list[str]:
    """One line a mistake. A union reports each of its alternatives: their lines are merged by key."""
    reasons: dict[str, list[str]] = {}
    values: dict[str, object] = {}
    for item in error.errors():
        path, model = _place(item["loc"])
        key = ".".join(path) or "(top level)"
        if item["type"] == "extra_forbidden":
            near = did_you_mean(path[-1], model.model_fields) if model.model_fields else "Nothing can be set there."
            reason = f"unknown. {near}"
        elif item["type"] == "missing":
            reason = "is missing"
        elif item["type"] == "value_error":
            reason = str(item["ctx"]["error"])
        else:
            reason = item["msg"][0].lower() + item["msg"][1:]
            values[key] = item["input"]
        reasons.setdefault(key, []).append(reason)
    return [
        f"  {key}: {' or '.join(dict.fromkeys(alternatives))}"
        + (f", and it is {values[key]!r}" if key in values else "")
        for key, alternatives in reasons.items()
    ]


def _place(location: tuple[int | str, ...]) -> tuple[list[str], type[BaseModel]]:
    """The keys of a pydantic location, and the model that the last of them should be in.

    What follows the key of a plain value is left out: positions in a list, and names of a union's alternatives.
    """
    model: type[BaseModel] = Params
    path: list[str] = []
    for part in map(str, location):
        path.append(part)
        if path[0] == "datasets" and len(path) <= 2:
            model = Dataset
            continue
        field = model.model_fields.get(part)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            break
        model = field.annotation
    return path, model
