"""An SSH server of our own: OpenSSH on a free loopback port, for this user, with keys in a temporary folder."""

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import pytest

TIMEOUT = 300  # seconds, for one connection

CONFIG = """\
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True)
class SshServer:
    """Attributes:
    url: ssh://user@host:port, to which an absolute path is to be added.
    key: file of the private key that it lets in.
    """

    url: str
    key: Path


@contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """Serve until the block ends. Skips the test where OpenSSH's server cannot be run, and says why.

    This process listens, and gives each connection to a `sshd -i`, which ends with the connection: no port to guess,
    nothing to wait for, and no server that could outlive the tests.
    """
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin{os.pathsep}/usr/local/sbin")
    if sshd is None:
        pytest.skip("sshd is not installed (package openssh-server)")
    for name in ("host_key", "user_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name]
        subprocess.run(command, check=True, timeout=TIMEOUT)
    config = folder / "sshd_config"
    config.write_text(CONFIG.format(folder=folder))
    check = subprocess.run([sshd, "-t", "-f", config], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if check.returncode:
        pytest.skip(f"sshd does not start here: {check.stderr.strip()}")

    class Connection(BaseRequestHandler):
        def handle(self) -> None:
            with (folder / "log").open("ab") as log:
                command = [sshd, "-i", "-e", "-f", config]
                subprocess.run(
                    command, stdin=self.request, stdout=self.request, stderr=log, timeout=TIMEOUT, check=False
                )

    with ThreadingTCPServer(("127.0.0.1", 0), Connection) as server:
        Thread(target=server.serve_forever, name="sshd").start()
        try:
            yield SshServer(f"ssh://{getpass.getuser()}@127.0.0.1:{server.server_address[1]}", folder / "user_key")
        finally:
            server.shutdown()
