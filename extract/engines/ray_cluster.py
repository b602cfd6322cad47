"""The Ray cluster of an extraction: joining one, starting one on this machine, dividing it up."""

import functools
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import extract
from extract.errors import InputError, missing_extra

# An encoder's threads do ever less for it: beyond so many cores a second actor does more.
CORES_PER_ACTOR = 4
# Only a part's rows pass through it, each once; Ray refuses less than 75 MiB.
_OBJECT_STORE_BYTES = 80 * 2**20
_PROBE_SECONDS = 60.0


@dataclass(frozen=True)
class Share:
    """What each actor gets of a cluster, and how many of them there are."""

    actors: int
    cores: int
    gpus: int
    """1 or 0."""


def require_ray(address: str | None) -> None:
    """Find out before long work, as far as that takes no time, whether Ray can be had.

    Args:
        address: as ``connected`` takes it.

    Raises:
        InputError: Ray is not installed, or nobody answers at ``address``.
    """
    try:
        import ray  # noqa: F401
    except ImportError:
        raise missing_extra("ray", "--engine ray") from None
    if address is None or address == "auto":
        return
    if address.startswith("ray://"):
        raise InputError(
            f"--ray-address {address}: give the head node's host:port (as 10.0.0.1:6379), or auto,"
            " and run this on a machine of the cluster: it has to read the items and the store"
        )
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 65536):
        raise InputError(f"--ray-address {address}: write host:port, as 10.0.0.1:6379, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        raise InputError(
            f"--ray-address {address}: no Ray cluster answers there ({error.strerror or error});"
            " start one with  ray start --head"
        ) from None


@contextmanager
def connected(address: str | None) -> Iterator[ModuleType]:
    """Be connected to a Ray cluster; yields Ray.

    A program that is connected already stays so. Otherwise a cluster of this machine's processors
    is started and ended (``address`` None), or the one at ``address`` is joined and left. One of
    our own keeps its sessions, sockets and logs in a new folder under ``RAY_TMPDIR``, else under
    the system's folder for temporary files, and removes it at the end; it asks for a token that
    only this process and its workers know. What Ray has to say goes to its logs, and no usage
    statistics are sent.

    Args:
        address: ``host:port`` of a cluster's head node, or ``auto`` for the one that this machine
            belongs to (``RAY_ADDRESS`` where that is set).

    Raises:
        InputError: no cluster can be reached or started.
    """
    import ray

    if ray.is_initialized():
        here = ray.get_runtime_context().gcs_address
        if address not in (None, "auto", here):
            raise InputError(f"--ray-address {address}: this program is connected to {here}")
        yield ray
        return
    options: dict[str, Any] = {
        "address": address or "local",
        "log_to_driver": False,
        "logging_level": logging.CRITICAL,
    }
    with ExitStack() as stack:
        variables = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
        if address is None:
            folder = tempfile.TemporaryDirectory(
                prefix="mmssl-ray-", dir=os.environ.get("RAY_TMPDIR"), ignore_cleanup_errors=True
            )
            options |= {
                "_temp_dir": stack.enter_context(folder),
                "include_dashboard": False,
                "object_store_memory": _OBJECT_STORE_BYTES,
            }
            # Actors have to import what runs here, whatever else is installed.
            home = str(Path(extract.__file__).parents[1])
            paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
            variables["PYTHONPATH"] = os.pathsep.join(paths)
            # Ray listens to the whole network, and would leave a token of its own in the home
            # folder; that there has to be one, Ray notes in RAY_AUTH_MODE.
            variables |= {"RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN") or token()}
        else:
            _require_cluster(address)
        stack.enter_context(_environment(variables, "RAY_AUTH_MODE"))
        stack.enter_context(_sigterm_exits())
        handler = signal.getsignal(signal.SIGTERM)
        stack.callback(ray.shutdown)
        try:
            ray.init(**options)
        except Exception as error:  # whatever the reason, there is nothing to extract with
            where = f"--ray-address {address}" if address else "--engine ray"
            verb = (
                "joined" if address else "started (RAY_TMPDIR names another folder for its files)"
            )
            raise InputError(
                f"{where}: no cluster could be {verb}: {_one_line(str(error))}"
            ) from error
        if signal.getsignal(signal.SIGTERM) is not handler:
            # Ray's own drains a node of other people's work first, and then exits with 1.
            signal.signal(signal.SIGTERM, handler)
        yield ray


def divide(nodes: Sequence[Mapping[str, float]], *, actors: int | None, device: str) -> Share:
    """Divide a cluster among actors.

    GPU actors have one GPU each and the cores that come with it. CPU actors have four cores, or as
    many as the largest machine has if those are fewer; if ``actors`` are more than that gives, so
    many cores that all of them find room.

    Args:
        nodes: each machine's resources, as Ray names them: ``CPU``, ``GPU``.
        actors: how many are wanted; None: as many as there is room for.
        device: ``auto`` (GPUs where the cluster has some), ``cuda`` or ``cpu``.

    Raises:
        InputError: more actors than there is room for, or no GPU for ``cuda``.
    """
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    gpus = [int(node.get("GPU", 0)) for node in nodes]
    if device == "cuda" and not sum(gpus):
        raise InputError(
            "--device cuda: no machine of the Ray cluster offers a GPU; use cpu or auto"
        )
    on_gpus = device != "cpu" and sum(gpus) > 0
    # Every GPU needs a core: Ray places no actor without one.
    room = [min(pair) for pair in zip(cpus, gpus, strict=True)] if on_gpus else cpus
    what = "GPUs with a processor" if on_gpus else "processors"
    if sum(room) < (actors or 1):
        raise InputError(
            f"--engine ray: the cluster offers {sum(room)} {what}, too few for {actors or 1} actors"
        )
    if on_gpus:
        pairs = zip(cpus, gpus, strict=True)
        cores = min(max(1, cpu // gpu) for cpu, gpu in pairs if cpu and gpu)
        return Share(actors or sum(room), cores, 1)
    cores = min(CORES_PER_ACTOR, max(cpus))
    while actors is not None and sum(cpu // cores for cpu in cpus) < actors:
        cores -= 1
    return Share(actors or sum(cpu // cores for cpu in cpus), cores, 0)


@functools.cache
def token() -> str:
    """What this process's clusters ask of who joins them; one a process: Ray reads it once."""
    return secrets.token_hex(32)


def _require_cluster(address: str) -> None:
    """Find out in another process, and within a bounded time, whether a cluster can be joined.

    Ray itself tries for minutes where something else than Ray answers.

    Raises:
        InputError: it cannot be joined.
    """
    probe = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False)"
    try:
        subprocess.run(
            [sys.executable, "-c", probe, address],
            capture_output=True,
            text=True,
            check=True,
            timeout=_PROBE_SECONDS,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"--ray-address {address}: something answers there, but not a Ray cluster's head node"
            " (its port is 6379 unless chosen otherwise; 8265 and 10001 are others)"
        ) from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
        raise InputError(
            f"--ray-address {address}: no cluster could be joined: {_one_line(said[-1])}"
        ) from None


@contextmanager
def _environment(variables: Mapping[str, str], *others: str) -> Iterator[None]:
    """Set variables, and in the end give them, and ``others``, the values that they had."""
    before = {name: os.environ.get(name) for name in (*variables, *others)}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _sigterm_exits() -> Iterator[None]:
    """Let SIGTERM, where it would kill at once, end the cluster first: exit code 143."""
    try:
        before = signal.getsignal(signal.SIGTERM)
        if before is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    except ValueError:  # not the main thread: Ray leaves signals alone there too
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
