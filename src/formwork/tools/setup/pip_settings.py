"""Where pip is told to look for packages. uv reads settings of its own only: without pip's, it would not find the
mirror of a company."""

import configparser
import os
import ssl
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from formwork.errors import FormworkError

OF_UV = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")


def pip_settings() -> dict[str, str]:
    """Options of `pip install` with their values: from variables PIP_*, then files, as pip ranks them.
    https://pip.pypa.io/en/stable/topics/configuration/
    """
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for path in _files():
        parser = configparser.RawConfigParser()
        try:
            parser.read(path)
        except (configparser.Error, UnicodeDecodeError) as error:
            raise FormworkError(f"{path}, which configures pip, cannot be read: {error}") from error
        for section, options in sections.items():
            if parser.has_section(section):
                options.update((_normalized(name), value) for name, value in parser.items(section))
    variables = {_normalized(name[4:]): value for name, value in os.environ.items() if name.startswith("PIP_")}
    return sections["global"] | sections["install"] | variables


def _files() -> Iterator[Path]:
    """The last ones count most."""
    chosen = os.environ.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        return
    mac = sys.platform == "darwin"
    folders = ["/Library/Application Support"] if mac else os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")
    yield from (Path(folder, "pip/pip.conf") for folder in folders if folder)
    yield Path("/etc/pip.conf")
    if not (chosen and os.path.exists(chosen)):
        home = Path.home()
        yield home / ".pip/pip.conf"
        yield Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config", "pip/pip.conf")
        if mac:
            yield home / "Library/Application Support/pip/pip.conf"
    yield Path(sys.prefix, "pip.conf")
    if chosen:
        yield Path(chosen)


def _normalized(name: str) -> str:
    return name.lower().replace("_", "-").removeprefix("--")


def index_options(settings: Mapping[str, str]) -> list[str]:
    """uv's options for the places that `settings` name. None where uv has been told in variables of its own."""
    if any(name in os.environ for name in OF_UV):
        return []
    options = ["--index-strategy", "unsafe-best-match"]  # as pip: all places are equal
    if settings.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        options += ["--no-index"]
    if "index-url" in settings:
        options += ["--default-index", settings["index-url"]]
    for url in settings.get("extra-index-url", "").split():
        options += ["--index", url]
    for place in settings.get("find-links", "").split():
        options += ["--find-links", place]
    return options


def connection_options(settings: Mapping[str, str]) -> list[str]:
    """uv's options for how to trust these places."""
    options = []
    for host in settings.get("trusted-host", "").split():
        options += ["--allow-insecure-host", host]
    if "cert" in settings:
        return [*options, "--cert", settings["cert"]]
    paths = ssl.get_default_verify_paths()
    if sys.platform == "darwin" or paths.cafile or paths.capath:
        options += ["--system-certs"]  # as pip: a company may have certificates of its own there
    return options


def connection_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """The same, in variables; those that are set already stay."""
    names = {"proxy": "ALL_PROXY", "client-cert": "SSL_CLIENT_CERT", "timeout": "UV_HTTP_TIMEOUT"}
    found = {names[option]: value for option, value in settings.items() if option in names}
    return found | os.environ
