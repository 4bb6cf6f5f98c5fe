"""The train stage."""

import logging
import tempfile
import warnings
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from formwork.errors import ParamsError
from formwork.params import Params, Trainer
from formwork.training.callbacks import EpochLog
from formwork.training.checkpoint import save_model
from formwork.training.data import Folders, ImageData
from formwork.training.module import Classifier


def train(params: Params, folders: Folders, model_file: Path, results: Path, speed: Path) -> None:
    """Train the model of params.yaml and keep its best epoch, by validation accuracy.

    Args:
        model_file: gets the best model. results, speed: get DVCLive's files, see EpochLog.

    Raises:
        FormworkError: see formwork.errors.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # advice and hardware it did not find
    warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)  # lightning calling torch
    pl.seed_everything(params.seed, workers=True, verbose=False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    data = ImageData(params, folders)
    settings = data.settings
    classifier = Classifier(params.model.name, len(settings.class_names), settings.resolution, params.train)
    with tempfile.TemporaryDirectory() as scratch:
        best = ModelCheckpoint(dirpath=scratch, monitor="val/accuracy", mode="max", save_weights_only=True)
        trainer = _trainer(params.trainer, [best, EpochLog(results, speed), TQDMProgressBar()])
        trainer.fit(classifier, datamodule=data)
        if not trainer.is_global_zero:
            return
        checkpoint = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    weights = {k.removeprefix("model."): v for k, v in checkpoint["state_dict"].items() if k.startswith("model.")}
    found = {"epoch": checkpoint["epoch"] + 1, "val_accuracy": float(best.best_model_score)}
    save_model(model_file, params.model.name, settings, weights, found)
    print(
        f"Trained with the {data.loader_used} loader; best epoch {found['epoch']}, "
        f"validation accuracy {found['val_accuracy']:.4f}: {model_file}"
    )


def _trainer(params: Trainer, callbacks: list[pl.Callback]) -> pl.Trainer:
    try:
        return pl.Trainer(
            max_epochs=params.max_epochs,
            devices=params.devices,
            strategy=params.strategy,
            precision=params.precision,
            accelerator=params.accelerator,
            callbacks=callbacks,
            logger=False,
            use_distributed_sampler=False,  # our loaders share the batches out themselves
            enable_model_summary=False,
        )
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise ParamsError(f"trainer in params.yaml does not suit this machine: {error}") from error
