import pytest

from formwork.drawing.charts import chart


def draw(path, title="$5 and $6"):
    with chart(path, columns=2) as axes:
        for axis in axes:
            axis.plot([1, 2], [3, 4], label="loader")
            axis.set_title(title)
            axis.legend()


@pytest.mark.parametrize("name", ["chart.png", "chart.svg"])
def test_the_same_content_gives_the_same_bytes(tmp_path, name):
    draw(tmp_path / name)
    before = (tmp_path / name).read_bytes()
    draw(tmp_path / name)
    assert (tmp_path / name).read_bytes() == before
    draw(tmp_path / name, "another")
    assert (tmp_path / name).read_bytes() != before


def test_a_chart_that_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "chart.png"
    draw(path)
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), chart(path) as (axes,):
        axes.plot([1 / 0])
    assert [path] == list(tmp_path.iterdir())
    assert path.read_bytes() == before
