"""Names of what systems and programs leave in folders of images."""

LITTER = {
    # Windows
    "thumbs.db", "thumbs.db:encryptable", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin",
    "system volume information", "found.000", "picasa.ini", "zbthumbnail.info",
    # macOS; names that begin with a dot are passed over anyway
    "__macosx", "icon\r", "network trash folder", "temporary items",
    # NAS systems and file servers
    "@eadir", "#recycle", "@recycle", "@recently-snapshot", "#snapshot", "~snapshot", "@__thumb", "@tmp", "lost+found",
    # programs
    "__pycache__",
}  # fmt: skip
"""Names, in any case, of what systems and programs leave in folders; beside all that begin with a dot."""
LITTER_STARTS = (".", "~$")
LITTER_ENDS = (".tmp", ".temp", ".part", ".partial", ".crdownload", "~", ".swp", ".lnk", ".aae", ".pyc")


def is_litter(name: str) -> bool:
    """Asked for each file of a dataset: in half a microsecond."""
    name = name.lower()
    return name in LITTER or name.startswith(LITTER_STARTS) or name.endswith(LITTER_ENDS)
