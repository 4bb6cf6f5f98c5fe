"""What the processes of a training must have in common."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch

from formwork import own
from formwork.beton.read import open_beton
from formwork.code import CHECKPOINT, code_digest
from formwork.errors import BetonError
from formwork.folders import Folders
from formwork.loading.base import SplitFiles
from formwork.loading.project import ProjectData
from formwork.params import Params
from formwork.training.resume import SECTIONS

SHORT = 40  # characters of a value that is named as it is


def facts(params: Params, folders: Folders, data: ProjectData, initial: Path) -> dict[str, str]:
    """By name of each thing, its value, or a digest of it: params, code and versions, manifests, and what betons hold.

    Of a beton that is that of its tables, which have a checksum of each sample: no image is read.
    """
    found = {}
    for section in SECTIONS:
        value = getattr(params, section)
        for key, part in {"": value}.items() if section == "seed" else value.model_dump().items():
            found[f"{section}.{key} in params.yaml" if key else f"{section} in params.yaml"] = _short(json.dumps(part))
    found["the code in src"] = code_digest(CHECKPOINT, own.folder())[:12]
    found |= {"the version of torch": torch.__version__, "the version of pytorch_lightning": pl.__version__}
    found[str(folders.settings)] = hashlib.sha256(folders.settings.read_bytes()).hexdigest()[:12]
    found |= {str(split.manifest.path): split.manifest.digest[:12] for split in data.splits.values()}
    if params.model.weights:
        found[str(initial)] = hashlib.sha256(initial.read_bytes()).hexdigest()[:12]
    if params.data.use_ffcv:
        found |= {str(split.beton): _content(split) for split in data.splits.values()}
    return found


def _short(text: str) -> str:
    return text if len(text) <= SHORT else hashlib.sha256(text.encode()).hexdigest()[:12]


def _content(split: SplitFiles) -> str:
    """A digest of the samples of a beton, the same for a file and for parts.

    In words, what is wrong with one that cannot be read: PyTorch's loader may take its place.
    """
    if isinstance(split.beton, Path) and not split.beton.exists():
        return "missing"
    try:
        beton = open_beton(split.beton).of_manifest(split.manifest)
    except BetonError as error:
        return str(error)
    digest = hashlib.sha256()
    for table in (beton.modes, beton.widths, beton.heights, beton.sizes, beton.stored_checksums):
        if table is not None:
            digest.update(np.ascontiguousarray(table).data)
    return digest.hexdigest()[:12]
