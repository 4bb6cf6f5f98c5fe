"""The loaders compared: the same training with each of them, as DVC experiments, side by side."""
