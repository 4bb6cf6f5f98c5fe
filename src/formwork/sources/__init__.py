"""Datasets that Formwork makes or downloads itself, a module each, by name.

A module has VERSION, to be raised when it writes other files, and write(folder, archives, options), which writes
<class>/<file> or {train,val}/<class>/<file> below the empty `folder`. `archives` is a folder for what it downloads,
which is kept until the dataset is whole. `options` is its entry under `sources` in params.yaml.
"""

SOURCES = ("cifar10", "cifar100", "digits", "imagenette", "mnist", "synthetic")
"""Names that data.fetch in params.yaml may list."""
