"""Tars: listed as Python's tarfile lists them, and read in place."""

import io
import os
import random
import tarfile
import threading
from pathlib import Path

import pytest

from formwork.images.containers import OPEN_TARS, image_source, in_container, read_image
from formwork.images.tars import IS_SPARSE, NO_TARGET, TarFile, TarIndex, read_index
from tests.tars import member, tar_bytes, write_tar

LONG = "/".join(["a folder with a long name"] * 12) + "/1.jpg"
LINKS = (tarfile.LNKTYPE, tarfile.SYMTYPE)
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def index_of(path: Path) -> TarIndex:
    with open(path, "rb") as file:
        return read_index(file.fileno())


def contents(path: Path, index: TarIndex) -> dict[str, bytes]:
    data = path.read_bytes()
    spans = zip(index.offsets.tolist(), index.sizes.tolist(), strict=True)
    return {name: data[offset : offset + size] for name, (offset, size) in zip(index.names, spans, strict=True)}


def random_tar(path: Path, rng: random.Random, tar_format: int) -> dict[str, bytes]:
    """A tar of files, folders and links with names of any length; and what it holds."""
    files: dict[str, bytes] = {}
    with tarfile.open(path, "w", format=tar_format) as tar:
        for number in range(rng.randrange(40)):
            width = rng.choice([1, 20, 98, 99, 100, 101, 150]) if tar_format != tarfile.USTAR_FORMAT else 20
            name = f"{rng.choice(['', 'cat/', 'a/b/'])}{rng.choice(['x', 'ü', ' '])}{'n' * width}{number}.jpg"
            target = rng.choice(sorted(files)) if files else name
            kind = rng.choice([tarfile.REGTYPE, tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, *LINKS])
            if kind in LINKS and files:
                up = "../" * name.count("/") if kind == tarfile.SYMTYPE else rng.choice(["", "./"])
                tar.addfile(member(f"./{name}", type=kind, linkname=up + target))
                files[name] = files[target]
            elif kind in (tarfile.DIRTYPE, tarfile.FIFOTYPE):
                tar.addfile(member(name, type=kind))
            else:
                files[name] = rng.randbytes(rng.choice([0, 1, 511, 512, 513, 2000]))
                tar.addfile(member(name, size=len(files[name])), io.BytesIO(files[name]))
    return files


@pytest.mark.parametrize("name", FORMATS)
def test_a_tar_is_listed_as_tarfile_reads_it(tmp_path: Path, name: str) -> None:
    rng = random.Random(name)
    for _ in range(20):
        files = random_tar(tmp_path / "x.tar", rng, FORMATS[name])
        with tarfile.open(tmp_path / "x.tar") as tar:
            theirs = {one.name.removeprefix("./"): tar.extractfile(one).read() for one in tar if one.isreg()}
        index = index_of(tmp_path / "x.tar")

        assert index.damage == ""
        assert contents(tmp_path / "x.tar", index) == files
        assert theirs.items() <= files.items()


def test_damage_anywhere_is_said_and_never_raised(tmp_path: Path) -> None:
    rng = random.Random(0)
    whole = write_tar(tmp_path / "x.tar", {f"{n}.jpg": rng.randbytes(700) for n in range(5)} | {LONG: b"long"})
    data, index = whole.read_bytes(), index_of(whole)
    for _ in range(200):
        damaged = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(data))] = rng.randrange(256)
        (tmp_path / "y.tar").write_bytes(damaged[: rng.choice([len(data), rng.randrange(len(data))])])
        found = index_of(tmp_path / "y.tar")
        size = (tmp_path / "y.tar").stat().st_size
        assert all(offset + length <= size for offset, length in zip(found.offsets, found.sizes, strict=True))
    (tmp_path / "y.tar").write_bytes(data[: index.offsets[3] + 100])
    assert index_of(tmp_path / "y.tar").damage == "it ends within 3.jpg"
    assert index_of(tmp_path / "y.tar").names == ["0.jpg", "1.jpg", "2.jpg"]
    (tmp_path / "y.tar").write_bytes(data[: index.offsets[3] - 512])
    assert index_of(tmp_path / "y.tar").damage == "it has no end mark: it may have been cut short"
    (tmp_path / "y.tar").write_bytes(data + data)
    assert "tars were joined by cat" in index_of(tmp_path / "y.tar").damage
    (tmp_path / "y.tar").write_bytes(b"")
    assert index_of(tmp_path / "y.tar").damage == "it is empty"
    (tmp_path / "y.tar").write_bytes(bytes(10240))
    assert index_of(tmp_path / "y.tar").damage == ""


def test_names_that_lead_out_are_no_files_and_the_last_of_a_name_counts(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "x.tar", {"../a.jpg": b"a", "b/../../c.jpg": b"c", "/home/d.jpg": b"d", "e.jpg": b"1"})
    write_tar(tar, {"./e.jpg": b"22"}, mode="a")

    index = index_of(tar)

    assert index.outside == ["../a.jpg", "b/../../c.jpg"]
    assert contents(tar, index) == {"home/d.jpg": b"d", "e.jpg": b"22"}
    assert index.repeated == 1


def test_links_to_nothing_and_sparse_files_have_no_place(tmp_path: Path) -> None:
    with open(tmp_path / "s.jpg", "wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 19)
        file.write(b"x")
    os.system(f"cd {tmp_path} && tar --sparse -cf x.tar s.jpg && tar --sparse --format=pax -cf y.tar s.jpg")
    for name in ("x.tar", "y.tar"):
        with tarfile.open(tmp_path / name, "a") as tar:
            for link, target in {"l.jpg": "gone.jpg", "m.jpg": "n.jpg", "n.jpg": "m.jpg"}.items():
                tar.addfile(member(link, type=tarfile.SYMTYPE, linkname=target))
        index = index_of(tmp_path / name)

        assert dict(zip(index.names, index.offsets, strict=True)) == {
            "s.jpg": IS_SPARSE,
            **dict.fromkeys(("l.jpg", "m.jpg", "n.jpg"), NO_TARGET),
        }
        with pytest.raises(OSError, match="stored sparse"):
            read_image(tmp_path, f"{name}/s.jpg")


@pytest.mark.parametrize("tar_format", FORMATS.values(), ids=FORMATS)
def test_a_member_is_read_by_its_path_and_by_its_place(tmp_path: Path, tar_format: int) -> None:
    name = LONG if tar_format != tarfile.USTAR_FORMAT else "long/" * 30 + "1.jpg"
    inner = tar_bytes({"1.jpg": b"inner one", "./cat/2.jpg": b"inner two"})
    files = {"1.jpg": b"one", "ü/ä.jpg": b"two", name: b"three"}
    tar = write_tar(tmp_path / "x.tar", {**files, "i.tar": inner}, tar_format)
    opened = TarFile(str(tar))
    for path, content in {**files, "i.tar/1.jpg": b"inner one", "i.tar/cat/2.jpg": b"inner two"}.items():
        assert read_image(tmp_path, f"x.tar/{path}") == content
        assert image_source(tmp_path, f"x.tar/{path}", opened.span(path)) == content
        fresh = TarFile(str(tar))
        assert fresh.read(path, opened.span(path)) == content
        assert vars(fresh)["_index"] is None  # its headers were not read
    with pytest.raises(FileNotFoundError, match="holds no such file"):
        read_image(tmp_path, "x.tar/2.jpg")


def test_a_place_where_another_image_lies_by_now_is_an_error(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "x.tar", {"1.jpg": b"one", "2.jpg": b"two"})
    span = TarFile(str(tar)).span("2.jpg")

    write_tar(tar, {"2.jpg": b"two", "1.jpg": b"one"})
    with pytest.raises(OSError, match="no longer what it was when its images were listed"):
        read_image(tmp_path, "x.tar/2.jpg", span)
    tar.write_bytes(tar.read_bytes()[:600])
    with pytest.raises(OSError, match=r"no such file|no longer what it was"):
        read_image(tmp_path, "x.tar/2.jpg", span)


def test_a_folder_may_be_called_like_a_tar(tmp_path: Path) -> None:
    (tmp_path / "a.tar/b.TAR").mkdir(parents=True)
    (tmp_path / "a.tar/1.jpg").write_bytes(b"file")
    write_tar(tmp_path / "a.tar/c.Tar", {"d.tar/2.jpg": b"member"})

    assert image_source(tmp_path, "a.tar/1.jpg") == tmp_path / "a.tar/1.jpg"
    assert in_container(tmp_path, "a.tar/b.TAR/3.jpg") is None
    assert read_image(tmp_path, "a.tar/c.Tar/d.tar/2.jpg") == b"member"


def test_many_tars_are_read_by_threads_and_forked_processes_with_few_files_open(tmp_path: Path) -> None:
    paths = [f"{number}.tar/{number}.jpg" for number in range(100)]
    for number, path in enumerate(paths):
        write_tar(tmp_path / f"{number}.tar", {f"{number}.jpg": str(number).encode()})
        assert read_image(tmp_path, path) == str(number).encode()
    wrong: list[int] = []

    def read_all(seed: int) -> None:
        for number in random.Random(seed).choices(range(100), k=300):
            if read_image(tmp_path, paths[number]) != str(number).encode():
                wrong.append(number)

    threads = [threading.Thread(target=read_all, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    child = os.fork()  # while threads may hold the lock
    if child == 0:
        read_all(9)
        os._exit(bool(wrong))
    for thread in threads:
        thread.join()

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not wrong
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    assert sum(os.readlink(link).endswith(".tar") for link in links if os.path.islink(link)) <= OPEN_TARS
