"""Files of weights in all the usual forms give the same tensors; what is none says so, and no code is run."""

import io
import json
import re
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch

from formwork.errors import FormworkError
from formwork.params import Model
from formwork.weights.initial_file import read_initial
from formwork.weights.make import make_initial

TENSORS = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.ones(2)}
STATE = {"optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}}
FORMS = {
    "plain.pt": TENSORS,
    "state_dict.pth": {"epoch": 3, "state_dict": TENSORS} | STATE,
    "model.pth": {"model": TENSORS, "epoch": 3} | STATE,
    "model_state_dict.bin": STATE | {"model_state_dict": TENSORS},
    "nested.pt": {"checkpoint": {"net": TENSORS}},
    "half.pt": {name: tensor.half() for name, tensor in TENSORS.items()},
    "best.pt": {
        "model": {"name": "rcnn"},
        "settings": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "resolution": 8},
        "weights": TENSORS,
    },
    "lightning.ckpt": {"pytorch-lightning_version": "2.6", "state_dict": TENSORS, "optimizer_states": [STATE]},
}


def make(folder: Path, name: str) -> Path:
    output = folder / "initial.safetensors"
    make_initial(Model(weights=name), folder, output)
    return output


@pytest.mark.parametrize("name", FORMS)
def test_the_usual_forms(tmp_path: Path, name: str) -> None:
    torch.save(FORMS[name], tmp_path / name)
    tensors, origin = read_initial(make(tmp_path, name))
    assert tensors.keys() == TENSORS.keys()
    for key, tensor in TENSORS.items():
        assert torch.equal(tensors[key].float(), tensor)
    assert origin.source == (tmp_path / name).as_posix()
    assert origin.lightning == name.endswith("ckpt")
    assert (origin.mean, origin.size) == (([0.1, 0.2, 0.3], 8) if name == "best.pt" else (None, None))


def test_safetensors_and_tensors_that_share_memory(tmp_path: Path) -> None:
    safetensors.torch.save_file(TENSORS, tmp_path / "a.safetensors")
    assert read_initial(make(tmp_path, "a.safetensors"))[0].keys() == TENSORS.keys()
    shutil.copy(tmp_path / "initial.safetensors", tmp_path / "b.safetensors")
    assert read_initial(make(tmp_path, "b.safetensors"))[0].keys() == TENSORS.keys()
    metadata = {
        "formwork": json.dumps({"settings": {"mean": [0.1, 0.2, 0.3], "std": [1.0, 1.0, 1.0], "resolution": 8}})
    }
    safetensors.torch.save_file(TENSORS, tmp_path / "c.safetensors", metadata)  # as src/export.py writes it
    assert read_initial(make(tmp_path, "c.safetensors"))[1].mean == [0.1, 0.2, 0.3]
    torch.save({"settings": {"mean": "grey"}} | TENSORS, tmp_path / "d.pt")
    assert read_initial(make(tmp_path, "d.pt"))[1].mean is None
    torch.save({"a": TENSORS["fc.weight"], "b": TENSORS["fc.weight"].T}, tmp_path / "b.pt")
    assert torch.equal(read_initial(make(tmp_path, "b.pt"))[0]["b"], TENSORS["fc.weight"].T)


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "a.pt")
    first = make(tmp_path, "a.pt").read_bytes()
    assert make(tmp_path, "a.pt").read_bytes() == first


def test_random_weights_are_a_file_without_tensors(tmp_path: Path) -> None:
    output = tmp_path / "initial.safetensors"
    make_initial(Model(), tmp_path, output)
    first = output.read_bytes()
    make_initial(Model(name="resnet18"), tmp_path, output)
    assert output.read_bytes() == first
    with pytest.raises(FormworkError, match="holds no weights"):
        read_initial(output)


class Code:
    """Would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": TENSORS, "code": Code(tmp_path / "run")}, tmp_path / "a.pt")
    with pytest.raises(FormworkError, match=r"getattr.*would run code.*safetensors\.torch\.save_file"):
        make(tmp_path, "a.pt")
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "initial.safetensors").exists()


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"\x80\x02no", bytes(100), b"<html>not found</html>"])
@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "a.ckpt"])
def test_a_damaged_file(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormworkError, match=re.escape(str(tmp_path / name))):
        make(tmp_path, name)


def test_a_cut_file(tmp_path: Path) -> None:
    for name, save in (("a.pt", torch.save), ("a.safetensors", safetensors.torch.save_file)):
        save(TENSORS, tmp_path / name)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) * 2 // 3])
        with pytest.raises(FormworkError, match="no file of weights that can be read"):
            make(tmp_path, name)


@pytest.mark.parametrize("content", [{}, {"a": 1}, [torch.ones(2)], torch.ones(2), {"state_dict": {"a": "b"}}])
def test_a_file_without_weights(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(FormworkError, match="holds no weights by name"):
        make(tmp_path, "a.pt")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FormworkError, match=r"There is no file of weights yet\. .*`dvc add`"):
        make(tmp_path, "resnet.pt")
    torch.save(TENSORS, tmp_path / "resnet18.pt")
    with pytest.raises(FormworkError, match=r"Did you mean 'resnet18\.pt'\?"):
        make(tmp_path, "resnet.pt")
    (tmp_path / "other.pt.dvc").touch()
    with pytest.raises(FormworkError, match=r"Run `dvc pull .*other\.pt`"):
        make(tmp_path, "other.pt")


def test_names_in_params() -> None:
    assert Model(weights="models/weights/a.pt").weights == "a.pt"
    for wrong in ("a", "../a.pt", "/a.pt", "models/best.txt", "Default"):
        with pytest.raises(ValueError, match=r"models/weights/"):
            Model(weights=wrong)
    with pytest.raises(ValueError, match="small_cnn has none"):
        Model(weights="default")


def test_files_of_older_torch(tmp_path: Path) -> None:
    """The legacy form of torch.save is read, too."""
    buffer = io.BytesIO()
    torch.save(TENSORS, buffer, _use_new_zipfile_serialization=False)
    (tmp_path / "old.pth").write_bytes(buffer.getvalue())
    assert read_initial(make(tmp_path, "old.pth"))[0].keys() == TENSORS.keys()
