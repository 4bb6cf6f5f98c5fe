"""Images in Parquet and Arrow files, by their paths."""

import os
import threading
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from formwork.images.columnar import image_column
from formwork.images.containers import image_source, in_container, is_there, read_image, row_of, row_path
from tests.huggingface import images, labelled, save_to_disk, table, write_parquet


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_parquet(tmp_path / "a.parquet", labelled(12))
    save_to_disk(tmp_path / "b", labelled(12))
    with ipc.new_file(str(tmp_path / "c.arrow"), labelled(12).schema) as file:
        file.write_table(labelled(12), max_chunksize=5)
    return tmp_path


@pytest.mark.parametrize("name", ["a.parquet", "b/data-00000-of-00001.arrow", "c.arrow"])
def test_any_row_is_read_by_itself(folder: Path, name: str) -> None:
    expected = images(12)

    for row in (11, 0, 5, 4, 11):
        assert read_image(folder, row_path(name, row)) == expected[row]
    assert is_there(folder, row_path(name, 0))
    for row in (12, 99_999_999):
        with pytest.raises(OSError, match="its row holds no image"):
            read_image(folder, row_path(name, row))


def test_a_path_of_a_file_stays_one_whatever_its_name(tmp_path: Path) -> None:
    for name in ("x.parquet/00000001", "train.parquet#17", "a.arrow", "00000001"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())

        assert image_source(tmp_path, name) == tmp_path / name
        assert read_image(tmp_path, name) == name.encode()
        assert in_container(tmp_path, name) is None
    assert row_of("x.parquet/1") is None
    assert row_of("x.PARQUET/00000001") == ("x.PARQUET", 1)


def test_a_row_group_is_read_once_for_images_in_a_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    whole = parquet.ParquetFile.read_row_group

    def counted(self: parquet.ParquetFile, group: int, *arguments: object, **named: object) -> pa.Table:
        read.append(group)
        return whole(self, group, *arguments, **named)

    monkeypatch.setattr(parquet.ParquetFile, "read_row_group", counted)
    for row in range(12):
        read_image(folder, row_path("a.parquet", row))

    assert read == [0, 1, 2]


def test_threads_and_forked_processes_read_the_same(folder: Path) -> None:
    expected = images(12)
    found: dict[int, bytes] = {}
    threads = [
        threading.Thread(target=lambda row=row: found.update({row: read_image(folder, row_path("a.parquet", row))}))
        for row in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[row] for row in range(12)] == expected

    child = os.fork()
    if child == 0:
        os._exit(int(read_image(folder, row_path("a.parquet", 7)) != expected[7]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_changed_file_is_opened_anew(folder: Path) -> None:
    assert read_image(folder, "a.parquet/00000003") == images(12)[3]

    write_parquet(folder / "a.parquet", labelled(13, seed=1))

    assert read_image(folder, "a.parquet/00000003") == images(13, seed=1)[3]


def test_damage_is_an_error_of_the_file(folder: Path) -> None:
    data = bytearray((folder / "a.parquet").read_bytes())
    data[100:2000] = bytes(1900)
    (folder / "a.parquet").write_bytes(data)

    with pytest.raises(OSError, match="it is damaged") as raised:
        read_image(folder, "a.parquet/00000000")

    assert raised.value.errno
    assert raised.value.filename == f"{folder}/a.parquet"
    with pytest.raises(FileNotFoundError):
        read_image(folder, "gone.parquet/00000000")


def test_offsets_that_lead_out_of_the_file_are_damage_and_no_crash(tmp_path: Path) -> None:
    content = pa.table({"image": [b"one", b"two"]})
    with ipc.new_stream(str(tmp_path / "a.arrow"), content.schema) as file:
        file.write_table(content)
    data = (tmp_path / "a.arrow").read_bytes()
    offsets = bytes([0, 0, 0, 0, 3, 0, 0, 0, 6, 0, 0, 0])
    assert data.count(offsets) == 1
    (tmp_path / "a.arrow").write_bytes(data.replace(offsets, bytes([0, 0, 0, 0, 255, 255, 255, 127, 6, 0, 0, 0])))

    with pytest.raises(OSError, match="it is damaged"):
        read_image(tmp_path, "a.arrow/00000000")


def test_the_column_of_images_is_the_one_that_is_named_or_said_so() -> None:
    schema = table(images(1), {"mask": {"_type": "Image"}}, mask=pa.array([{"bytes": b""}])).schema
    assert image_column(schema) == "image"
    assert image_column(pa.schema([("x", pa.binary()), ("img", pa.large_binary())])) == "img"
    assert image_column(pa.schema([("x", pa.binary())])) == "x"
    assert image_column(pa.schema([("x", pa.string()), ("y", pa.list_(pa.binary()))])) is None
