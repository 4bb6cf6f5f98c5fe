"""Where the data of one dataset lies in a repository."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Folders:
    """data/raw/<name>, data/interim/<name> and data/processed/<name>."""

    raw: Path
    interim: Path
    processed: Path

    @classmethod
    def of(cls, dataset: str, repository: Path = Path()) -> "Folders":
        """The folders of a dataset, by its name in `data.name`; relative to the current folder by default."""
        return cls(*(repository / "data" / kind / dataset for kind in ("raw", "interim", "processed")))

    def manifest(self, split: str) -> Path:
        return self.interim / f"{split}.csv"

    @property
    def settings(self) -> Path:
        return self.interim / "dataset.json"

    def beton(self, split: str) -> Path:
        return self.processed / f"{split}.beton"
