from formwork.text import table


def test_a_table_keeps_pipes_in_its_cells():
    assert table(["a", "b"], [[1, "x|y"]]) == "| a | b |\n| --- | --- |\n| 1 | x\\|y |"
