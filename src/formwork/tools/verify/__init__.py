"""The pipeline run once more, from nothing, and what it makes compared with dvc.lock."""
