"""The curves and params of a training for other programs beside DVCLive, through Lightning's loggers, on this machine.

They are not given to the Trainer, which would turn to them in each step: this logs once an epoch.
"""

import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pydantic import BaseModel
from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from formwork.errors import FormworkError
from formwork.files import writing
from formwork.params import Params
from formwork.training.callbacks import EpochLogger
from formwork.training.resume import SECTIONS

FOLDER = Path("logs")
"""Outside of what stages make, which DVC removes before it runs them. Git ignores it."""
PROJECT = "formwork"
ENVIRONMENT = {  # they send nothing, and say nothing
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_SILENT": "true",
}


class OtherLoggers(pl.Callback):
    """Logs each epoch, and the params at the start, with the loggers of trainer.loggers. The first rank does.

    A run has a name, by which its files are found; one that goes on after an interruption keeps it, and writes all of
    its epochs again, as those after the last checkpoint come a second time.

    Args:
        curves: has the epochs; it comes before this one among the callbacks.
    """

    def __init__(self, params: Params, curves: EpochLogger):
        self.names = list(dict.fromkeys(params.trainer.loggers))
        self.curves = curves
        sections = {name: getattr(params, name) for name in SECTIONS} | {"dataset": params.dataset}
        self.params = flat({name: _plain(section) for name, section in sections.items()})
        self.run = ""
        self.mlflow_id = ""
        self.loggers: dict[str, Logger] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"run": self.run, "mlflow_id": self.mlflow_id}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.run, self.mlflow_id = state["run"], state["mlflow_id"]

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not (self.names and trainer.is_global_zero):
            return
        self.run = self.run or _name_of_run()
        os.environ.update(ENVIRONMENT)
        logging.getLogger("pytorch_lightning.loggers").setLevel(logging.ERROR)
        for name in self.names:
            with _explained(name):
                self.loggers[name] = logger = MAKE[name](self.run, self.mlflow_id)
                logger.log_hyperparams(self.params)
                if isinstance(logger, TensorBoardLogger):  # which shows no params but these
                    rows = "\n".join(f"| {name} | {value} |" for name, value in self.params.items())
                    logger.experiment.add_text("params", f"| | |\n|---|---|\n{rows}")
                if isinstance(logger, MLFlowLogger):
                    self.mlflow_id = logger.run_id or ""
        for epoch in self.curves.epochs:
            self._log(epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._log(self.curves.epochs[-1])

    def _log(self, epoch: Mapping[str, Any]) -> None:
        speed = {f"speed/{name}": value for name, value in epoch["speed"].items()}
        for name, logger in self.loggers.items():
            with _explained(name):
                logger.log_metrics({**epoch["results"], **speed}, step=epoch["epoch"])
                logger.save()

    def on_fit_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._end("success")

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        self._end("failed")

    def _end(self, status: str) -> None:
        while self.loggers:
            name, logger = self.loggers.popitem()
            with _explained(name):
                logger.finalize(status)
                if isinstance(logger, WandbLogger):
                    logger.experiment.finish(0 if status == "success" else 1)


def _csv(run: str, _: str) -> Logger:
    return CSVLogger(FOLDER, name="csv", version=_anew("csv", run))


def _tensorboard(run: str, _: str) -> Logger:
    return TensorBoardLogger(FOLDER, name="tensorboard", version=_anew("tensorboard", run), default_hp_metric=False)


def _mlflow(run: str, before: str) -> Logger:
    """before: id of the same run before an interruption."""
    folder = FOLDER / "mlflow"
    for path in folder.glob(f"*/{before}") if before else ():
        shutil.rmtree(path)
    return MLFlowLogger(PROJECT, run_name=run, tracking_uri=f"file:{folder}")


def _wandb(run: str, _: str) -> Logger:
    import wandb  # here, as it need not be there, and takes a second

    folder = FOLDER / "wandb" / _anew("wandb", run)
    folder.mkdir(parents=True)
    settings = wandb.Settings(
        console="off", silent=True, save_code=False, disable_git=True, x_disable_meta=True, x_disable_stats=True
    )
    experiment = wandb.init(project=PROJECT, id=run, name=run, dir=folder, mode="offline", settings=settings)
    return WandbLogger(project=PROJECT, save_dir=folder, experiment=experiment)


MAKE: dict[str, Callable[[str, str], Logger]] = {
    "csv": _csv,
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "wandb": _wandb,
}


def _anew(logger: str, run: str) -> str:
    """The name of a run, whose folder is gone."""
    shutil.rmtree(FOLDER / logger / run, ignore_errors=True)
    return run


def _name_of_run() -> str:
    """The time, and the name of DVC's experiment, where there is one."""
    experiment = re.sub(r"[^\w.-]", "-", os.environ.get("DVC_EXP_NAME", ""))
    return "_".join(filter(None, [time.strftime("%Y-%m-%d_%H-%M-%S"), experiment]))


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """`with _explained(name):` around the work of a logger, which raises errors of many kinds."""
    try:
        with writing(FOLDER):
            yield
    except FormworkError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise FormworkError(
            f"The logger {name} failed: {type(error).__name__}: {reason}. Take it out of trainer.loggers in "
            "params.yaml; an interrupted training goes on from its last checkpoint."
        ) from error


def _plain(section: Any) -> Any:
    return section.model_dump() if isinstance(section, BaseModel) else section


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, int | float | str | bool]:
    """By dotted key; lists as text."""
    found: dict[str, int | float | str | bool] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value if isinstance(value, int | float | str) else str(value)
    return found
