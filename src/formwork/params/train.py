"""The sections `train` and `trainer` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from formwork.errors import did_you_mean
from formwork.params.fields import Float, Fraction, Options, PositiveFloat, PositiveInt, Section, param
from formwork.params.schedules import SCHEDULES, ScheduleName, ScheduleOptions, parse_schedule

METRICS = {"classes": ("accuracy",), "multilabel": ("f1", "map"), "regression": ("mae", "r2")}
"""What trainer.monitor may name beside the loss, by task."""

SHARDED = ("fsdp", "deepspeed")
"""Starts of the names of strategies that part the weights."""


class Train(Section):
    """The optimiser, its schedule and the loss ([training](training.md))."""

    optimizer: str = param(
        "AdamW",
        "The optimiser ([options](training.md#optimiser)).",
        values="a class of `torch.optim`: `AdamW`, `SGD`, `Adam`, `NAdam`, `RMSprop`, `Adafactor`, ...",
    )
    lr: PositiveFloat = param(0.003, "Learning rate of the optimiser: the peak of the schedule.")
    weight_decay: Annotated[Float, Field(ge=0)] = param(0.01, "Weight decay of the optimiser.")
    decay_norms_and_biases: bool = param(
        False, "`true`: weight decay also on norms, biases and other parameters of one dimension."
    )
    optimizer_options: Options = param(
        {}, "Other options of the optimiser.", values="a mapping of torch's names to values: `{momentum: 0.9}`"
    )
    lr_scale: dict[str, PositiveFloat] = param(
        {},
        "Factors of `lr` for some of the weights: of the patterns that match the name of a weight, or of a module that "
        "it is in, the last one counts.",
        values="a mapping of patterns to numbers: `{layer1: 0.1, '*.bias': 2}`",
    )
    schedule: ScheduleName = param(
        "one_cycle",
        "How the learning rate changes from step to step ([formulas](training.md#schedule)).",
    )
    schedule_options: Annotated[Options, Field(validate_default=True)] = param(
        {},
        "Options of the schedule.",
        values="; ".join(
            f"`{name}`: {', '.join(f'`{one}`' for one in kind.model_fields) or 'none'}"
            for name, kind in SCHEDULES.items()
        ),
    )
    warmup_epochs: Annotated[Float, Field(ge=0)] = param(
        0.0,
        "Time in which the learning rate rises to `lr`, before `schedule` begins; `one_cycle` has a rise of its own.",
        unit="epochs",
    )
    ema: Annotated[Float, Field(gt=0, lt=1)] | None = param(
        None,
        "Decay of an exponential moving average of the weights, as 0.999, which is validated and kept instead of them "
        "([how](training.md#moving-average)). `null`: none.",
    )
    label_smoothing: Annotated[Float, Field(ge=0, lt=1)] = param(
        0.0, "Share of each label that is spread evenly over all classes."
    )
    class_weights: Literal["balanced"] | None = param(
        None,
        "`balanced`: in the loss, each class weighs as much as any other, however few images it has. `null`: each "
        "image weighs the same.",
    )
    on_nan: Literal["error", "continue"] = param(
        "error",
        "Where a loss, a metric or a weight is nan or infinite: `error` stops; `continue` goes on, with null in the "
        "metrics, and keeps the best of the epochs without any.",
    )

    @field_validator("schedule_options")
    @classmethod
    def _suit_the_schedule(cls, options: dict, info: ValidationInfo) -> dict:
        if "schedule" in info.data:
            parse_schedule(info.data["schedule"], options)
        return options

    @field_validator("warmup_epochs")
    @classmethod
    def _has_a_schedule_to_come_before(cls, epochs: float, info: ValidationInfo) -> float:
        if epochs and info.data.get("schedule") == "one_cycle":
            raise ValueError(
                "one_cycle rises by itself, in the share pct_start of all steps: set schedule_options: {pct_start: "
                "0.3}, or another schedule"
            )
        return epochs

    @property
    def parsed_schedule_options(self) -> ScheduleOptions:
        return parse_schedule(self.schedule, self.schedule_options)


class Trainer(Section):
    """Given to Lightning's `Trainer`, but for `checkpoint_minutes`."""

    max_epochs: PositiveInt = param(12, "Number of times that each training image is shown.", unit="epochs")
    accumulate_grad_batches: PositiveInt = param(
        1, "Number of batches whose gradients are averaged for one step of the optimiser.", unit="batches"
    )
    gradient_clip_val: PositiveFloat | None = param(
        None, "Largest norm, or value, of the gradients of a step; `null`: any."
    )
    gradient_clip_algorithm: Literal["norm", "value"] = param(
        "norm", "What `gradient_clip_val` is of: the norm of all gradients together, or each single number."
    )
    limit_train_batches: PositiveInt | Annotated[Fraction, Field(gt=0)] | None = param(
        None,
        "Part of the training images that an epoch shows, others in each: a number of batches, or with a point a "
        "share of them; `null`: all.",
        values="`20`: batches; `0.5`: a share; `null`",
    )
    check_val_every_n_epoch: PositiveInt = param(
        1, "Validate after each so many epochs; after the last one in any case.", unit="epochs"
    )
    monitor: str | None = param(
        None,
        "The metric by which the best epoch is chosen; `null`: the score of the task on `val`.",
        values="`val/loss`, `train/loss`, `val/accuracy`, ..., or `null`",
    )
    early_stopping: PositiveInt | None = param(
        None, "Stop after so many epochs without a better one; `null`: never.", unit="epochs"
    )
    num_nodes: PositiveInt = param(
        1, "Number of machines that train together ([several nodes](several-nodes.md)).", unit="nodes"
    )
    devices: PositiveInt | Literal["auto"] = param(
        1,
        "Number of processes that train together on each node, each on a GPU of its own (or on the CPU); `auto`: as "
        "many as there are GPUs.",
        unit="processes",
    )
    strategy: str = param("auto", "How the devices work together.", values="Lightning's names: `auto`, `ddp`, ...")
    sync_batchnorm: bool = param(
        False, "`true`: batch norm takes mean and variance over the images of all GPUs, not of each alone."
    )
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true"] = param(
        "32-true", "Number format of the weights and of the computation."
    )
    compile: bool | Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = param(
        False,
        "`torch.compile` of the network: its steps are faster after minutes of compilation, and round otherwise.",
        values="`false`, `true`, or a mode of torch: `default`, `reduce-overhead`, `max-autotune`, "
        "`max-autotune-no-cudagraphs`",
    )
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = param("auto", "The hardware to train and evaluate on.")
    loggers: list[Literal["csv", "tensorboard", "mlflow", "wandb"]] = param(
        [],
        "Programs that get the curves, too, in the folder `logs` of this machine ([how](training.md#other-loggers)).",
        values="a list of `csv`, `tensorboard`, `mlflow` and `wandb`",
    )
    checkpoint_minutes: Annotated[Float, Field(ge=0)] | None = param(
        5.0,
        "Time between checkpoints, from which an interrupted run continues; 0: a checkpoint after each step; `null`: "
        "no checkpoints, so that it starts anew.",
        unit="minutes",
    )

    def unknown_monitor(self, task: str) -> str | None:
        """That `monitor` is no metric of a task, or where this is `auto` of any, in words."""
        metrics = ["loss", *(name for kind, names in METRICS.items() if task in (kind, "auto") for name in names)]
        known = [*(f"val/{name}" for name in metrics), *(f"train/{name}" for name in metrics if name != "map")]
        if self.monitor is None or self.monitor in known:
            return None
        whose = "There" if task == "auto" else f"Of the task {task} there"
        return f"trainer.monitor is {self.monitor}. {whose} is no such metric. {did_you_mean(self.monitor, known)}"


def check_recipe(train: Train, trainer: Trainer) -> None:
    """Raises ValueError: the sections do not fit together."""
    if train.warmup_epochs >= trainer.max_epochs:
        raise ValueError(
            f"train.warmup_epochs is {train.warmup_epochs:g}, and must be less than trainer.max_epochs, which is "
            f"{trainer.max_epochs}"
        )
    if train.ema is not None and trainer.strategy.startswith(SHARDED):
        raise ValueError(f"train.ema needs a process that has all weights, which {trainer.strategy} has not: set null")
    if train.optimizer_options.get("fused") and trainer.gradient_clip_val and trainer.precision == "16-mixed":
        raise ValueError(
            "trainer.gradient_clip_val and trainer.precision 16-mixed are not for an optimiser with fused: true, which "
            "scales gradients by itself: take it out of train.optimizer_options"
        )
