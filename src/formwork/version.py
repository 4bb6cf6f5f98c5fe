"""The version of the package: that of pyproject.toml, as a test checks."""

__version__ = "0.2.0"
