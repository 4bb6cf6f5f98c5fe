"""The states that the benchmark compares differ in what it says."""

from argparse import Namespace

from benchmarks.diff import main


def test_the_table_says_what_changed(capsys):
    main(Namespace(images=1000, rounds=1))
    _, few, every = capsys.readouterr().out.splitlines()
    assert "10 removed, 10 replaced, 10 relabelled" in few
    assert "10 renamed" in few
    assert "1,000 added, 1,000 removed" in every
