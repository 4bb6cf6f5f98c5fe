"""`cluster` in params.yaml: the machines that verification, the search for near copies and conversion run on."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError

from formwork.errors import did_you_mean
from formwork.params.fields import PositiveFloat, PositiveInt, Section

ADDRESS = re.compile(r"(?:tcp|tls)://(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s/:@\[\]]+):(?P<port>[0-9]{1,5})")
HOST = re.compile(r"[^\s@/:;'\"-][^\s@/:;'\"]*")
VALUES = (
    "the address of a Dask scheduler, as `tcp://host:8786`, `{ssh: [host, ...]}`; or `{slurm: {workers: 4, "
    "cores: 8, memory: 16GB}}` ([how](cluster.md))"
)


class Slurm(Section):
    """Workers as jobs of SLURM. All other keys are options of dask_jobqueue.SLURMCluster: cores, memory, queue, ..."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    workers: PositiveInt
    wait_minutes: PositiveFloat = 60.0

    @property
    def options(self) -> dict[str, Any]:
        """Those of dask_jobqueue.SLURMCluster."""
        return dict(self.model_extra or {})


class SlurmCluster(Section):
    slurm: Slurm


class SshCluster(Section):
    ssh: Annotated[list[str], Field(min_length=1)]


def _parsed(value: object) -> object:
    """Refuse what says no cluster, in words: those of a union of types would name all that it is not."""
    if value is None or isinstance(value, SlurmCluster | SshCluster):
        return value
    if isinstance(value, str):
        found = ADDRESS.fullmatch(value)
        if not found or not 0 < int(found["port"]) < 1 << 16:
            raise ValueError(f"must be the address of a Dask scheduler, as tcp://host:8786, and is {value!r}")
        return value
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(
            f"must be null, an address as tcp://host:8786, {{slurm: {{...}}}} or {{ssh: [...]}}: {value!r}"
        )
    (kind,) = value
    if kind == "slurm":
        return _slurm(value)
    if kind == "ssh":
        return _ssh(value)
    raise ValueError(f"{kind} is unknown. {did_you_mean(str(kind), ('slurm', 'ssh'))}")


def _slurm(value: dict) -> SlurmCluster:
    try:
        return SlurmCluster.model_validate(value)
    except ValidationError as error:
        reasons = [f"{'.'.join(map(str, item['loc']))}: {_lower(item['msg'])}" for item in error.errors()]
        raise ValueError("; ".join(reasons)) from error


def _ssh(value: dict) -> SshCluster:
    hosts = value["ssh"]
    if not isinstance(hosts, list) or not hosts:
        raise ValueError(f"ssh must be a list of hosts, as [node1, node2], and is {hosts!r}")
    if wrong := [host for host in hosts if not (isinstance(host, str) and HOST.fullmatch(host))]:
        raise ValueError(
            f"ssh lists {wrong[0]!r}, which is no name of a host. User and port of a host stand in ~/.ssh/config"
        )
    return SshCluster(ssh=hosts)


def _lower(message: str) -> str:
    return message[0].lower() + message[1:]


Cluster = Annotated[str | SlurmCluster | SshCluster | None, BeforeValidator(_parsed)]
"""None: processes of this machine. A text: the address of a Dask scheduler."""
