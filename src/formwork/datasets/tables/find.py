"""Where a raw dataset keeps its table of labels: at the top, or, as Hugging Face's ImageFolder has it, a table in the
folder of each split."""

from formwork.datasets.folder_names import TABLES, extension, split_name
from formwork.datasets.layout import descend
from formwork.datasets.listing import RawFolder, name_of
from formwork.datasets.tables.names import NAMES
from formwork.datasets.tables.table import TableFile
from formwork.errors import DatasetError
from formwork.escapes import shell_word


def find_tables(folder: RawFolder) -> list[TableFile]:
    """The table of labels, or that of each split; none where the dataset has no table.

    Raises:
        DatasetError: there are several for the same images.
    """
    root = descend(folder, "")
    at_top = [place for place in dict.fromkeys(["", root]) for place in _tables_in(folder, place)]
    splits = [f"{root}{name}/" for name in folder.content(root).folders if _is_split(name)]
    in_splits = {top: _tables_in(folder, top) for top in splits}
    everywhere = [*at_top, *(path for paths in in_splits.values() for path in paths)] if at_top else []
    for several in (everywhere, *in_splits.values()):
        if len(several) > 1:
            named = " and ".join(map(folder.place, several))
            raise DatasetError(
                f"{named} may both be the table of labels. Join them, or leave one out: {leave_out(several[1])}."
            )
    if at_top:
        return [TableFile(at_top[0], "" if at_top[0] in _tables_in(folder, "") else root)]
    return [TableFile(paths[0], top, _split(top)) for top, paths in in_splits.items() if paths]


def leave_out(path: str) -> str:
    """The option that leaves out a file of the dataset."""
    option = f'data.ignore=["/{path}"]'
    return f"`-S {shell_word(option)}`"


def _tables_in(folder: RawFolder, place: str) -> list[str]:
    """Paths of the tables of labels in a folder, sorted."""
    content = folder.content(place)
    if not any(name.lower().startswith(NAMES) for name in content.files):
        return []
    return sorted(path for path in content.paths() if extension(path) in TABLES and _stem(name_of(path)) in NAMES)


def _stem(name: str) -> str:
    return name.rpartition(".")[0].casefold()


def _is_split(name: str) -> bool:
    named = split_name(name)
    return named is not None and not named.rest


def _split(top: str) -> str | None:
    named = split_name(name_of(top))
    return named.split if named else None
