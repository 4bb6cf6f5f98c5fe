"""The train stage."""

import logging
import os
import warnings
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from formwork.errors import ParamsError
from formwork.folders import Folders
from formwork.loading.project import ProjectData
from formwork.models.model_file import save_model
from formwork.params import Params, Trainer
from formwork.system import PeakMemory
from formwork.training.callbacks import BestEpoch, EpochLogger, InterruptHandler, ProgressBar
from formwork.training.datamodule import ImageDataModule
from formwork.training.geometry import check_model
from formwork.training.import_lightning import PLAIN
from formwork.training.lightning_overhead import NoProfiler, reduce_step_overhead
from formwork.training.module import Classifier
from formwork.training.resume import PeriodicCheckpoint, checkpoint_path, find_checkpoint


def train(params: Params, folders: Folders, model_file: Path, results: Path, speed: Path) -> None:
    """Train the model of params.yaml and keep its best epoch, by validation accuracy.

    An interrupted run is resumed from its last checkpoint, if nothing that it depends on has changed.

    Args:
        model_file: where the best model is written.
        results, speed: folders for DVCLive's files, see EpochLogger.

    Raises:
        FormworkError: see formwork.errors.
        KeyboardInterrupt: Ctrl-C; the run can be resumed from its last checkpoint.
    """
    set_up_process(params.seed)
    data = ProjectData(params, folders)
    settings = data.settings
    classifier = Classifier(params.model.name, len(settings.class_names), settings.resolution, params.train)
    datamodule, memory = ImageDataModule(data), own_memory()
    interrupts, best = InterruptHandler(), BestEpoch()
    callbacks: list[pl.Callback] = [interrupts, best, EpochLogger(results, speed, datamodule, memory)]
    resume, checkpoint = checkpoint_path(model_file.parent / ".resume", params, folders), None
    if params.trainer.checkpoint_minutes is not None:
        callbacks.append(PeriodicCheckpoint(resume, params.trainer.checkpoint_minutes))
        checkpoint = find_checkpoint(resume)
    trainer = build_trainer(params.trainer, [*callbacks, ProgressBar()])
    check_model(classifier.model, params, settings.resolution, trainer.num_devices)
    if checkpoint and trainer.is_global_zero:
        print(f"Going on from step {checkpoint['global_step']} of an interrupted run: {resume}")
    with interrupts, memory:
        trainer.fit(classifier, datamodule=datamodule, ckpt_path=resume if checkpoint else None, weights_only=True)
    if not trainer.is_global_zero:
        return
    weights = {k.removeprefix("model."): v for k, v in best.weights.items() if k.startswith("model.")}
    save_model(model_file, params.model, settings, weights, best.epoch, best.accuracy)
    resume.unlink(missing_ok=True)
    print(
        f"Trained with the {data.loader_used} loader; best epoch {best.epoch}, "
        f"validation accuracy {best.accuracy:.4f}: {model_file}"
    )


def own_memory() -> PeakMemory:
    """Watches the memory of this process and its workers, while it is a context manager."""
    return PeakMemory(os.getpid(), every=0.5, files=False, share=0.01)


def set_up_process(seed: int) -> None:
    """Settings of the whole process: seeds, deterministic algorithms, and Lightning's messages off."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # not its advice and the hardware it did not find
    warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)  # lightning calling torch
    pl.seed_everything(seed, workers=True, verbose=False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    reduce_step_overhead()


def build_trainer(params: Trainer, callbacks: list[pl.Callback]) -> pl.Trainer:
    """Lightning's Trainer as this repository uses it.

    Raises:
        ParamsError: it does not suit this machine.
    """
    try:
        return pl.Trainer(
            max_epochs=params.max_epochs,
            devices=params.devices,
            strategy=params.strategy,
            precision=params.precision,
            accelerator=params.accelerator,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,  # BestEpoch and PeriodicCheckpoint do it
            use_distributed_sampler=False,  # our loaders share the batches out themselves
            enable_model_summary=False,
            profiler=None if PLAIN else NoProfiler(),
        )
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise ParamsError(f"trainer in params.yaml does not suit this machine: {error}") from error
