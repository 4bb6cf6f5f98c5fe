"""What the checks look at: the repository in the current folder. Each part is read when a check first asks for it."""

from __future__ import annotations

import json
import logging
import warnings
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from formwork.errors import FormworkError
from formwork.folders import Folders
from formwork.tools.doctor.children import Child, Failed
from formwork.tools.doctor.verdict import NotChecked

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from formwork.beton.beton import Beton
    from formwork.images.manifest import Manifest
    from formwork.loading.project import ProjectData
    from formwork.params import Params

SPLITS = ("train", "val")
LIBRARIES_SECONDS = 60  # to import torch and ffcv, on a slow file system


class Project:
    """Everything that is missing or cannot be used is reported by one check; to the others it is NotChecked.

    Args:
        full: check all that can be checked, however long it takes.
    """

    def __init__(self, full: bool = False):
        self.full = full
        self._manifests: dict[str, Manifest] = {}
        self._betons: dict[str, Beton] = {}

    def __enter__(self) -> Project:
        return self

    def __exit__(self, *_: object) -> None:
        for child in [value for value in vars(self).values() if isinstance(value, Child)]:
            child.close()

    def start(self) -> None:
        """Let the processes run that others wait for, so that they need not."""
        self.libraries, self.dvc  # noqa: B018

    @cached_property
    def libraries(self) -> Child:
        return Child("libraries", ("torch", "ffcv"))

    @cached_property
    def dvc(self) -> Child:
        return Child("dvc", ("repository", "remote", "status"))

    @cached_property
    def params(self) -> Params:
        from formwork.params import load_params

        try:
            return load_params()
        except FormworkError as error:
            raise NotChecked("params.yaml cannot be used") from error

    @cached_property
    def folders(self) -> Folders:
        return Folders.of(self.params.data.name)

    @property
    def raw(self) -> Path:
        return self.folders.raw

    def read_manifest(self, split: str) -> Manifest:
        """Raises DatasetError: see formwork.images.manifest.read_manifest."""
        from formwork.images.manifest import read_manifest

        if split not in self._manifests:
            self._manifests[split] = read_manifest(self.folders.manifest(split))
        return self._manifests[split]

    def manifest(self, split: str) -> Manifest:
        try:
            return self.read_manifest(split)
        except FormworkError as error:
            raise NotChecked(f"there is no {self.folders.manifest(split)} to go by") from error

    def beton(self, split: str) -> Beton:
        from formwork.beton.read import open_beton

        if split not in self._betons:
            try:
                self._betons[split] = open_beton(self.folders.beton(split))
            except FormworkError as error:
                raise NotChecked(f"there is no {self.folders.beton(split)} that can be opened") from error
        return self._betons[split]

    def beton_files(self) -> list[Path]:
        """Paths of the betons that exist, or of their parts.

        Raises:
            NotChecked: there is none.
        """
        from formwork.beton.read import PARTS

        betons = [path for path in map(self.folders.beton, SPLITS) if path.exists()]
        found = [file for path in betons for file in (sorted(path.glob(PARTS)) if path.is_dir() else [path])]
        if not found:
            raise NotChecked("there are no betons yet")
        return found

    @cached_property
    def trainer(self) -> pl.Trainer:
        """Lightning's Trainer, made as the train stage makes it.

        Raises:
            ParamsError: it does not suit this machine.
        """
        self.need_libraries()
        from formwork.training.fit import build_trainer

        logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # advice, and hardware it did not find
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return build_trainer(self.params.trainer, [])

    @cached_property
    def data(self) -> ProjectData:
        """The data, opened as the train stage opens it; but where FFCV cannot load it, that is an error.

        Raises:
            FormworkError: see ProjectData.
        """
        self.need_libraries()
        from formwork.loading.project import ProjectData

        for path in (*map(self.folders.manifest, SPLITS), self.folders.settings):
            if not path.exists():
                raise NotChecked(f"there is no {path} to go by")
        ffcv = self.params.ffcv.model_copy(update={"fallback": "error"})
        params = self.params.model_copy(update={"ffcv": ffcv})
        return ProjectData(params, self.folders)

    @property
    def devices(self) -> int:
        """Number of devices that train together."""
        try:
            return self.trainer.world_size
        except FormworkError as error:
            raise NotChecked("trainer in params.yaml does not suit this machine") from error

    def need_libraries(self) -> None:
        """Raises NotChecked: torch cannot be imported; here it might end or hang this process."""
        try:
            self.libraries.get("torch", LIBRARIES_SECONDS)
        except (Failed, TimeoutError) as error:
            raise NotChecked("torch cannot be used") from error


def read_json(path: Path) -> dict:
    """{} where there is none, or none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
