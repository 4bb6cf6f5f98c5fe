"""What is tried: every setting that can differ in what it stores, once."""

import pytest

from formwork.images.row import Row
from formwork.params import BetonParams
from formwork.tools.tune.grid import KEYS, Grid, changes, combine, describe, usual_resolutions

NOW = BetonParams(max_resolution=256)
GRID = Grid(resolutions=[None, 448, 336, 256])


def row(width: int, height: int, kind: str) -> Row:
    return Row(f"a/{width}", "a", 0, 1000, width, height, "RGB", kind, "")


def tried(rows, now=NOW, grid=GRID) -> list[tuple]:
    found = combine(now, grid, rows)
    assert found[0] == now
    values = [tuple(getattr(params, key) for key in KEYS) for params in found]
    assert len(values) == len(set(values))
    return values


def test_small_pngs_differ_by_mode_and_quality_alone():
    """Nothing is scaled and nothing is stored byte for byte: what params.yaml says of that stays."""
    values = tried([row(8, 8, "PNG"), row(7, 9, "PNG")])
    assert set(values) == {
        *((mode, 256, quality, True) for mode in ("jpg", "smart") for quality in (80, 90, 95)),
        ("proportion", 256, 90, True),
        ("raw", 256, 90, True),
    }


def test_photos_above_every_limit_are_stored_as_they_are_in_full_size_alone():
    values = tried([row(500, 375, "JPEG"), row(375, 500, "JPEG")])
    assert {value for value in values if value[0] == "jpg"} == {
        *(("jpg", side, quality, True) for side in (None, 448, 336, 256) for quality in (80, 90, 95)),
        *(("jpg", None, quality, False) for quality in (80, 90, 95)),
    }
    assert [value for value in values if value[0] == "raw"] == [
        ("raw", side, 90, True) for side in (None, 448, 336, 256)
    ]


@pytest.mark.parametrize(("kind", "sides"), [("JPEG", {None, 448, 336}), ("MPO", {None, 448, 336}), ("PNG", set())])
def test_one_small_jpeg_may_be_stored_as_it_is(kind, sides):
    values = tried([row(500, 375, "PNG"), row(300, 200, kind)])
    assert {side for mode, side, _, passthrough in values if mode == "jpg" and not passthrough} == sides


def test_what_params_yaml_has_is_tried_and_what_it_has_beside_is_kept():
    now = BetonParams(write_mode="jpg", jpeg_quality=33, max_resolution=99, chroma_subsampling=444, seed=7)
    found = combine(now, Grid(write_modes=["raw"], resolutions=[100]), [row(500, 375, "PNG")])
    assert found[0] == now
    assert {(params.chroma_subsampling, params.seed) for params in found} == {(444, 7)}
    assert [describe(params, 500) for params in found] == ["jpg ≤ 99 px q33", "raw ≤ 100 px"]


def test_names():
    assert describe(BetonParams(write_mode="raw", passthrough=False), 500) == "raw full size"
    assert describe(BetonParams(write_mode="jpg", passthrough=False), 500) == "jpg full size q90 re-encoded"
    assert describe(BetonParams(write_mode="jpg", max_resolution=500), 500) == "jpg full size q90"
    proportion = BetonParams(write_mode="proportion", compress_probability=0.25, max_resolution=499)
    assert describe(proportion, 500) == "proportion 25% ≤ 499 px q90"


def test_changes_are_those_keys_alone():
    new = NOW.model_copy(update={"write_mode": "raw", "max_resolution": None})
    assert changes(new, NOW) == {"write_mode": "raw", "max_resolution": None}
    assert changes(NOW, NOW) == {}


def test_resolutions_around_that_of_training():
    assert usual_resolutions(224) == [None, 448, 336, 256]
