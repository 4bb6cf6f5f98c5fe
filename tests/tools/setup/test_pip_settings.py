"""pip's settings reach uv: where packages are looked for, and how these places are trusted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from formwork.errors import FormworkError
from formwork.tools.setup.pip_settings import connection_options, connection_variables, index_options, pip_settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory, and no setting of this machine but those in /etc."""
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "site"))
    (tmp_path / ".config/pip").mkdir(parents=True)
    (tmp_path / "site/pip").mkdir(parents=True)
    (tmp_path / ".pip").mkdir()
    return tmp_path


def test_settings_rank_as_pip_ranks_them(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "site/pip/pip.conf").write_text("[global]\nindex-url = https://site/\ntimeout = 5\nproxy = http://site\n")
    (home / ".pip/pip.conf").write_text("[global]\nindex-url = https://legacy/\nretries = 1\n")
    (home / ".config/pip/pip.conf").write_text(
        "[global]\nindex_url = https://user/\nextra-index-url =\n    https://a/\n    https://b/\n"
        "[install]\ntimeout = 7\n[download]\nproxy = http://elsewhere\n"
    )
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(home / "extra.conf"))
    (home / "extra.conf").write_text("[global]\nretries = 9\n")

    for other in (False, True):
        if other:  # replaces the user's own files
            (home / "extra.conf").unlink()
        asked = [sys.executable, "-m", "pip", "config", "list"]
        listed = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
        settings = pip_settings()
        for name in ("index-url", "extra-index-url", "find-links", "timeout", "proxy", "retries"):
            of_pip = [line.partition("=")[2] for line in listed.splitlines() if line.split("=")[0].endswith(f".{name}")]
            assert (repr(settings[name]) in of_pip) if of_pip else name not in settings, (name, listed)
    assert (settings["index-url"], settings["timeout"], settings["proxy"]) == ("https://user/", "7", "http://site")


def test_no_file_is_read_where_pip_reads_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".config/pip/pip.conf").write_text("[global]\nindex-url = https://user/\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert "index-url" not in pip_settings()


def test_a_file_that_cannot_be_read_is_named(home: Path) -> None:
    (home / ".config/pip/pip.conf").write_text("index-url = https://user/\n")
    with pytest.raises(FormworkError, match=r"\.config/pip/pip\.conf, which configures pip, cannot be read"):
        pip_settings()


def test_uv_is_told_where_and_how(home: Path) -> None:
    settings = {
        "index-url": "https://a/",
        "extra-index-url": "https://b/\nhttps://c/",
        "find-links": "/wheels /more",
        "no-index": "true",
        "trusted-host": "a b",
        "cert": "/ca.pem",
        "proxy": "http://proxy",
        "timeout": "7",
    }
    assert " ".join(index_options(settings)) == (
        "--index-strategy unsafe-best-match --no-index --default-index https://a/ --index https://b/ --index https://c/"
        " --find-links /wheels --find-links /more"
    )
    assert connection_options(settings) == [
        "--allow-insecure-host",
        "a",
        "--allow-insecure-host",
        "b",
        "--cert",
        "/ca.pem",
    ]
    variables = connection_variables(settings)
    assert (variables["ALL_PROXY"], variables["UV_HTTP_TIMEOUT"]) == ("http://proxy", "7")


def test_what_uv_has_been_told_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://uv/")
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "3")
    assert index_options({"index-url": "https://pip/"}) == []
    assert connection_variables({"timeout": "7"})["UV_HTTP_TIMEOUT"] == "3"
