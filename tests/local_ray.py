"""A Ray cluster of two processors on this machine, for the tests of a file."""

import logging
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import extract
from extract.engines.ray_cluster import token


@contextmanager
def local_cluster(gpus: int = 0) -> Iterator[str]:
    """Its address; processes that this one starts may join it, and it outlives them.

    Args:
        gpus: how many it says that it has.
    """
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_TOKEN", token())
        patch.delenv("RAY_AUTH_MODE", raising=False)
        patch.setenv("PYTHONPATH", str(Path(extract.__file__).parents[1]))
        handler = signal.getsignal(signal.SIGTERM)
        ray.init(
            address="local",
            num_cpus=2,
            num_gpus=gpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=80 * 2**20,
            _temp_dir=folder,
        )
        yield ray.get_runtime_context().gcs_address
        ray.shutdown()
        signal.signal(signal.SIGTERM, handler)
        os.environ.pop("RAY_AUTH_MODE", None)  # Ray set it
