"""Datasets that Formwork makes or downloads itself, a module each, by name.

A module has VERSION, to be raised when it writes other files, and write(folder), which writes
<class>/<file> or {train,val}/<class>/<file> below an empty folder.
"""

SOURCES = ("digits",)
"""Names that data.fetch in params.yaml may list."""
