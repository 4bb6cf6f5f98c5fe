"""model.weights: default, from files in their true form on a server on loopback: torchvision's, and the hub's."""

import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save
from torchvision import models
from torchvision.models import DenseNet121_Weights, densenet121

from formwork.errors import FormworkError, ParamsError
from formwork.models.build import build_model
from formwork.params import Model
from formwork.weights import download
from formwork.weights.initial_file import read_initial
from formwork.weights.make import make_initial
from tests.archives import Server, serving

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TIMM = "timm/resnet10t.c3_in1k"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """The published weights of densenet121, and of timm/resnet10t, whose means are others than ImageNet's."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "*")
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    with serving({}) as server:
        buffer = io.BytesIO()
        state = densenet121().state_dict()
        old = {name.replace("norm1", "norm.1"): tensor for name, tensor in state.items() if "num_batches" not in name}
        torch.save(old, buffer)
        content = buffer.getvalue()
        name = f"densenet121-{hashlib.sha256(content).hexdigest()[:8]}.pth"
        server.files[name] = content
        chosen = DenseNet121_Weights.IMAGENET1K_V1
        monkeypatch.setattr(chosen, "_value_", replace(chosen.value, url=server.url(name)))

        content = save(timm.create_model("resnet10t").state_dict())
        digest = hashlib.sha256(content).hexdigest()
        for revision in ("main", COMMIT):
            path = f"{TIMM}/resolve/{revision}/model.safetensors"
            server.files[path] = content
            server.headers[path] = {"X-Repo-Commit": COMMIT, "X-Linked-Etag": f'"{digest}"', "ETag": f'"{digest}"'}
        for module in (huggingface_hub.constants, huggingface_hub.file_download):
            monkeypatch.setattr(module, "ENDPOINT", server.url()[:-1], raising=False)
        monkeypatch.setattr(
            huggingface_hub.constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            server.url("{repo_id}/resolve/{revision}/{filename}"),
        )
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield server


def make(name: str, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    make_initial(Model(name=name, weights="default"), folder, folder / "initial.safetensors")
    return folder / "initial.safetensors"


def file_of(server: Server, name: str) -> str:
    return next(path for path in server.files if name in path and "main" not in path)


def test_those_of_torchvision(server: Server, tmp_path: Path) -> None:
    path = make("densenet121", tmp_path / "one")
    tensors, origin = read_initial(path)
    name = file_of(server, "densenet121")
    assert origin.source == server.url(name)
    assert origin.sha256 == hashlib.sha256(server.files[name]).hexdigest()
    assert (origin.mean, origin.std, origin.size) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 224)
    assert tensors.keys() == densenet121().state_dict().keys()  # published by older names, which torchvision knows
    assert path.read_bytes() == make("densenet121", tmp_path / "two").read_bytes()
    assert [one.name for one in path.parent.iterdir()] == ["initial.safetensors"]


def test_those_of_timm(server: Server, tmp_path: Path) -> None:
    tensors, origin = read_initial(make("timm/resnet10t", tmp_path / "one"))
    name = file_of(server, "resnet10t")
    assert origin.source == server.url(name)  # of a commit
    assert origin.sha256 == hashlib.sha256(server.files[name]).hexdigest()
    assert (origin.mean, origin.size) == ([0.485, 0.456, 0.406], 176)
    assert tensors.keys() == timm.create_model("resnet10t").state_dict().keys()
    assert [one.name for one in (tmp_path / "one").iterdir()] == ["initial.safetensors"]


def test_what_is_in_a_cache_is_not_downloaded(server: Server, tmp_path: Path) -> None:
    name = file_of(server, "densenet121")
    cached = tmp_path / "hub/checkpoints" / name
    cached.parent.mkdir(parents=True)
    cached.write_bytes(server.files[name])
    hub = tmp_path / "cache" / f"models--{TIMM.replace('/', '--')}"
    content = server.files[file_of(server, "resnet10t")]
    blob = hub / "blobs" / hashlib.sha256(content).hexdigest()
    link = hub / "snapshots" / COMMIT / "model.safetensors"
    for folder in (blob.parent, link.parent, hub / "refs"):
        folder.mkdir(parents=True)
    blob.write_bytes(content)
    link.symlink_to(blob)
    (hub / "refs/main").write_text(COMMIT)
    for model in ("densenet121", "timm/resnet10t"):
        tensors, origin = read_initial(make(model, tmp_path / "one"))
        assert tensors
        assert origin.source == server.url(file_of(server, model.rpartition("/")[2]))
    assert server.asked == []
    assert cached.exists()
    assert blob.exists()


FAULTS = {"404": "404", "cut": "the connection was cut", "other": "it is another file: its SHA-256 is"}


@pytest.mark.parametrize(("fault", "reason"), FAULTS.items(), ids=FAULTS)
@pytest.mark.parametrize("name", ["densenet121", "timm/resnet10t"])
def test_a_failed_download_leaves_nothing(server: Server, tmp_path: Path, name: str, fault: str, reason: str) -> None:
    for path in server.files:
        server.faults[path] = fault
    with pytest.raises(FormworkError, match=reason) as error:
        make(name, tmp_path / "one")
    assert server.url() in str(error.value)
    assert "put it into models/weights" in str(error.value)
    assert list((tmp_path / "one").iterdir()) == []


def test_without_a_network(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.shutdown()
    server.server_close()
    for name in ("densenet121", "timm/resnet10t"):
        with pytest.raises(FormworkError, match=r"could not be downloaded.*\n.*\nNothing was changed"):
            make(name, tmp_path / "one")
        assert list((tmp_path / "one").iterdir()) == []


def test_a_server_that_never_answers(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.3)
    server.faults[file_of(server, "densenet121")] = "silent"
    with pytest.raises(FormworkError, match=r"no answer for 0\.3 s"):
        make("densenet121", tmp_path / "one")


def test_all_models_of_torchvision_have_weights_and_a_checksum() -> None:
    for name in models.list_models(module=models):
        chosen = models.get_model_weights(name).DEFAULT
        assert re.search(r"-[0-9a-f]{8,}\.pth$", chosen.url)
        assert len(chosen.transforms().mean) == 3


def test_a_model_without_published_weights() -> None:
    with pytest.raises(ParamsError, match=r"timm publishes none for timm/botnet50ts_256\."):
        build_model(Model(name="timm/botnet50ts_256", weights="default"), 3, 224)
