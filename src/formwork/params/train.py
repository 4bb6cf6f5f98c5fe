"""The sections `train` and `trainer` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from formwork.params.fields import Float, PositiveFloat, PositiveInt, Section, param


class Train(Section):
    """The optimiser and the loss."""

    lr: PositiveFloat = param(0.003, "Peak learning rate of AdamW's one-cycle schedule.")
    weight_decay: Annotated[Float, Field(ge=0)] = param(0.01, "Weight decay of AdamW.")
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


class Trainer(Section):
    """Given to Lightning's `Trainer`, but for `checkpoint_minutes`."""

    max_epochs: PositiveInt = param(12, "Number of times that each training image is shown.", unit="epochs")
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
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true"] = param(
        "32-true", "Number format of the weights and of the computation."
    )
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = param("auto", "The hardware to train and evaluate on.")
    checkpoint_minutes: Annotated[Float, Field(ge=0)] | None = param(
        5.0,
        "Time between checkpoints, from which an interrupted run continues; 0: a checkpoint after each step; `null`: "
        "no checkpoints, so that it starts anew.",
        unit="minutes",
    )
