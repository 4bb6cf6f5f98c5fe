"""The LightningModule: a network, its loss, its metrics and its optimiser."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import Strategy
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from formwork.interim.settings import Settings
from formwork.loading.base import Batch, Images
from formwork.loading.targets import Targets
from formwork.models.build import build_model
from formwork.models.presentation import Presentation
from formwork.params import Params
from formwork.tasks import task_of
from formwork.tasks.base import LossOptions
from formwork.training.compilation import compile_network
from formwork.training.freeze import freeze
from formwork.training.lightning_overhead import LowOverheadModule
from formwork.training.objective import Objective
from formwork.training.optimizers import build_optimizer
from formwork.training.own_loss import one_by_one, own_loss
from formwork.training.schedules import build_schedule
from formwork.training.tally import Tally

SUMS = "formwork_sums"  # key in Lightning's checkpoints


class ImageModule(LowOverheadModule):
    """A network with its loss and optimiser. In training each timestep in the loss counts as an image; in validation it
    is the answer alone that counts, as in evaluate.

    Attributes:
        means: of the epoch whose training has ended last, over all images and all ranks: train/loss and, if it was
            validated, val/loss; and by task such as train/accuracy and val/accuracy.
        averaged: the network that is validated and kept in place of `model`; None: there is no other.
    """

    averaged: nn.Module | None

    def __init__(self, params: Params, settings: Settings, targets: Targets):
        """targets: of the training split."""
        super().__init__()
        self.task = task_of(settings)
        network = build_model(params.model, self.task.outputs, settings.resolution)
        self.model: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # of torch
        self.frozen_norms = freeze(self.model, params.model.freeze)
        self.presentation = Presentation(params.model)
        self.train_params = params.train
        self.objective = Objective(self.task, params.train, targets)
        self.views = params.augment.views != 1
        self.tallies = {"train": Tally(self.task), "val": Tally(self.task, keep=True)}
        self.means: dict[str, float] = {}
        self.trainer_params = params.trainer
        self.ended = False  # the epoch has its means
        self.__dict__["averaged"] = None  # not a module of this one: no checkpoint holds it

    def train(self, mode: bool = True) -> "ImageModule":
        super().train(mode)
        for name in self.frozen_norms:
            self.model.get_submodule(name).eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """(B, K) answers of the network that is validated to images (B, 3, H, W)."""
        return self.presentation.answers(self.model if self.averaged is None else self.averaged, images)

    def training_step(self, batch: Batch) -> Tensor:
        images, targets, *weights = batch
        if not len(targets):  # a gradient of zeros: the other ranks wait for one
            some = one_by_one(images)[0][0] if self.views else images
            return self.presentation.answers(self.model, some).sum()
        if (own := own_loss(self.model)) is not None:
            loss, outputs = own(images, targets)
        else:
            outputs, targets, *weights = self._outputs(images, targets, *weights)
            loss = self.objective(outputs, targets, *weights)
        self._log("train", loss, outputs, targets)
        return loss if self.trainer.accumulate_grad_batches == 1 else loss * self._share()

    def _outputs(self, images: Images, *numbers: Tensor) -> tuple[Tensor, ...]:
        """What the loss is computed of: outputs (N, K), with targets and weights for each; each view, and each timestep
        in the loss, counts as an image."""
        if isinstance(images, Tensor) and not self.views:
            return self.presentation.for_loss(self.model, images, *numbers)
        groups, numbers = one_by_one(images, *numbers)
        return torch.cat([self.model(group) for group in groups]), *numbers

    def _share(self) -> float:
        """By what a loss is multiplied, so that each step goes by the mean gradient of its batches: Lightning divides
        them by trainer.accumulate_grad_batches also in the last step of an epoch, which may have fewer."""
        trainer = self.trainer
        batches, of_epoch = trainer.accumulate_grad_batches, int(trainer.num_training_batches)
        rest = of_epoch % batches
        return batches / rest if trainer.fit_loop.epoch_loop.batch_idx >= of_epoch - rest else 1

    def validation_step(self, batch: Batch) -> None:
        images, targets = batch
        if len(targets):
            outputs = self(images)
            self._log("val", self.task.losses(outputs, targets, LossOptions("mean")), outputs, targets)

    def _log(self, split: str, loss: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
        """Count the loss and what the task measures; return the loss."""
        self.tallies[split].add(loss, outputs, targets)
        return loss

    def on_validation_start(self) -> None:
        """Let all ranks validate the same network: batch norm has seen other images in each."""
        if self.trainer.world_size > 1:
            for buffer in (self.model if self.averaged is None else self.averaged).buffers():
                torch.distributed.broadcast(buffer, 0)

    def on_validation_epoch_end(self) -> None:
        if self.trainer.sanity_checking:
            self.tallies["val"].start()
        else:
            self.means = self._means("train") | self._means("val")
            self.ended = True

    def end_epoch(self) -> dict[str, float]:
        """The means of the epoch whose training, and validation if it has any, are over. All ranks must ask, once."""
        if not self.ended:
            self.means = self._means("train")
        self.ended = False
        return self.means

    def _means(self, split: str) -> dict[str, float]:
        """Of the pass over the split that is over."""
        tally = self.tallies[split]
        means = tally.means(self.trainer.strategy)
        tally.start()
        return {f"{split}/{name}": means[name] for name in means}

    def average_with(self, network: nn.Module) -> None:
        """Validate and keep this network instead of the one that is trained."""
        compile_network(network, self.trainer_params)
        self.__dict__["averaged"] = network

    def best_weights(self, strategy: Strategy) -> dict[str, Tensor]:
        """The state_dict of the network that is validated: all ranks must ask."""
        if self.averaged is not None:
            return self.averaged.state_dict()
        weights = strategy.lightning_module_state_dict()
        return {name.removeprefix("model."): value for name, value in weights.items() if name.startswith("model.")}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the sums over the training images of the current epoch so far."""
        checkpoint[SUMS] = self.tallies["train"].state(self.trainer.strategy)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.trainer.is_global_zero:  # at the end of the epoch the ranks are added up
            self.tallies["train"].load(checkpoint[SUMS], self.trainer.strategy.root_device)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        steps = int(self.trainer.estimated_stepping_batches)
        optimizer = build_optimizer(self.model, self.train_params)
        schedule = build_schedule(optimizer, self.train_params, steps, steps // (self.trainer.max_epochs or 1))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def means_of(module: pl.LightningModule) -> dict[str, float]:
    """ImageModule.means, of a module that Lightning passes to a callback."""
    return of_ours(module).means


def of_ours(module: pl.LightningModule) -> ImageModule:
    """A module that Lightning passes to a callback."""
    assert isinstance(module, ImageModule)
    return module
