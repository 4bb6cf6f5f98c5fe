"""MNIST, CIFAR and Imagenette from small archives in the true formats, over HTTP, also where that goes wrong."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100, MNIST, Imagenette

from formwork.errors import DatasetError
from formwork.params import Sources
from formwork.sources import download
from formwork.sources.fetch import RECORD, fetch
from tests import archives
from tests.archives import PER_CLASS, Server, labels, pixels, serving

NAMES = {"cifar10": [f"thing{i}" for i in range(10)], "cifar100": [f"thing_{i:02d}" for i in range(100)]}
WNIDS = list(Imagenette._WNID_TO_CLASS)[:3]
CIFAR = {"cifar10": CIFAR10, "cifar100": CIFAR100}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Gives all archives; torchvision asks it for them."""
    monkeypatch.setenv("no_proxy", "*")
    with serving(archives.mnist()) as server:
        monkeypatch.setattr(MNIST, "resources", [(name, archives.md5(data)) for name, data in server.files.items()])
        monkeypatch.setattr(MNIST, "mirrors", [server.url(), server.url("mirror/")])
        for name, kind in CIFAR.items():
            archive, attributes = archives.cifar(kind, NAMES[name])
            server.files[kind.filename] = archive
            for attribute, value in {**attributes, "url": server.url(kind.filename)}.items():
                monkeypatch.setattr(kind, attribute, value)
        archive, _ = archives.imagenette(WNIDS)
        server.files["imagenette2-320.tgz"] = archive
        place = server.url("imagenette2-320.tgz"), archives.md5(archive)
        monkeypatch.setattr(Imagenette, "_ARCHIVES", {"320px": place})
        yield server


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("name", ["mnist", "cifar10", "cifar100"])
def test_small_images_are_exported_without_loss(server: Server, tmp_path: Path, name: str) -> None:
    targets = [tmp_path / "one" / name, tmp_path / "two" / name]
    for target in targets:
        fetch(name, target, Sources())

    classes = NAMES.get(name, [str(digit) for digit in range(10)])
    shape = (28, 28) if name == "mnist" else (3, 32, 32)
    expected = {RECORD}
    for split in PER_CLASS:
        of = labels(split, len(classes))
        images = pixels(split, len(of), shape)
        for index, label in enumerate(of):
            path = f"{split}/{classes[label]}/{index:05d}.png"
            expected.add(path)
            with Image.open(targets[0] / path) as image:
                found = np.asarray(image)
            assert (found == (images[index] if name == "mnist" else images[index].transpose(1, 2, 0))).all()
    assert content(targets[0]).keys() == expected
    assert content(targets[0]) == content(targets[1])
    assert [path.name for path in targets[0].parent.iterdir()] == [name]  # archives are gone


def test_jpegs_stay_byte_for_byte(server: Server, tmp_path: Path) -> None:
    fetch("imagenette", tmp_path / "imagenette", Sources())

    _, files = archives.imagenette(WNIDS)
    found = content(tmp_path / "imagenette")
    del found[RECORD]
    readable = {wnid: Imagenette._WNID_TO_CLASS[wnid][0] for wnid in WNIDS}
    assert readable["n01440764"] == "tench"
    expected = {
        path.replace(path.split("/")[1] + "/", readable[path.split("/")[1]] + "/"): files[path] for path in files
    }
    assert found == expected


FAULTS = {"404": "HTTP Error 404", "cut": "the connection was cut", "other": "or it is another file"}
FILES = {"cifar10": CIFAR10.filename, "imagenette": "imagenette2-320.tgz"}


@pytest.mark.parametrize(("fault", "reason"), FAULTS.items(), ids=FAULTS)
@pytest.mark.parametrize(("name", "file"), FILES.items(), ids=FILES)
def test_a_failed_download_leaves_nothing_and_the_next_succeeds(
    server: Server, tmp_path: Path, name: str, file: str, fault: str, reason: str
) -> None:
    target = tmp_path / name
    server.faults[file] = fault

    with pytest.raises(DatasetError) as error:
        fetch(name, target, Sources())

    for expected in (server.url(file), reason, "Nothing was changed", "dvc repro", f".{name}.archives/{file}"):
        assert expected in str(error.value)
    assert not target.exists()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    server.faults.clear()
    fetch(name, target, Sources())
    assert {path.name for path in target.iterdir()} == {RECORD, "train", "val" if name == "imagenette" else "test"}
    assert list(tmp_path.iterdir()) == [target]


def test_a_server_that_never_answers_is_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.3)
    server.faults[CIFAR10.filename] = "silent"

    with pytest.raises(DatasetError, match=r"no answer for 0\.3 s"):
        fetch("cifar10", tmp_path / "cifar10", Sources())


def test_nobody_there(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving({}) as gone:
        url = gone.url("cifar.tar.gz")
    monkeypatch.setattr(CIFAR10, "url", url)

    with pytest.raises(DatasetError, match="Connection refused"):
        fetch("cifar10", tmp_path / "cifar10", Sources())


@pytest.mark.parametrize("fault", FAULTS)
def test_another_mirror_is_tried_after_any_fault(server: Server, tmp_path: Path, fault: str) -> None:
    name = MNIST.resources[1][0]
    server.faults[name] = fault
    server.files[f"mirror/{name}"] = server.files[name]

    fetch("mnist", tmp_path / "mnist", Sources())

    assert f"mirror/{name}" in server.asked
    assert len(list((tmp_path / "mnist").rglob("*.png"))) == 10 * sum(PER_CLASS.values())


def test_complete_archives_are_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    *complete, last = (name for name, _ in MNIST.resources)
    server.faults[last] = "404"
    with pytest.raises(DatasetError) as error:
        fetch("mnist", tmp_path / "mnist", Sources())
    assert str(error.value).count("HTTP Error 404") == len(MNIST.mirrors)
    assert sorted(path.name for path in (tmp_path / ".mnist.archives").glob("*.gz")) == sorted(complete)

    server.faults.clear()
    server.asked.clear()
    fetch("mnist", tmp_path / "mnist", Sources())

    assert set(server.asked) == {last}


@pytest.mark.parametrize("filtered", [True, False])
def test_an_archive_is_unpacked_with_and_without_the_filter_of_newer_pythons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filtered: bool
) -> None:
    if not filtered:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    archive = tmp_path / "archive.tgz"
    archive.write_bytes(archives.tgz({"folder/file": b"content"}))
    download.unpack(archive, tmp_path / "unpacked")
    assert content(tmp_path / "unpacked") == {"folder/file": b"content"}

    archive.write_bytes(archives.tgz({"../file": b"content"}))
    with pytest.raises((DatasetError, tarfile.TarError)):
        download.unpack(archive, tmp_path / "unpacked")
    assert not (tmp_path / "file").exists()
