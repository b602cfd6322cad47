"""Which of the processes that a launcher started this one is, by its environment alone."""

import os

# As torchrun and `accelerate launch` set them, then as the MPI libraries do.
_INDEX = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
_LOCAL_INDEX = (
    *("LOCAL_RANK", "MPI_LOCALRANKID"),
    *("OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK"),
)
_COUNT = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
_LOCAL_COUNT = (
    *("LOCAL_WORLD_SIZE", "MPI_LOCALNRANKS"),
    *("OMPI_COMM_WORLD_LOCAL_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE"),
)


def index() -> int:
    """This process among all; 0 is the main one, and the only one where nothing was launched."""
    return _first_number(_INDEX, 0)


def local_index() -> int:
    """This process among those of its machine."""
    return _first_number(_LOCAL_INDEX, 0)


def count() -> int:
    """Processes in all."""
    return _first_number(_COUNT, 1)


def local_count() -> int:
    """Processes on this machine."""
    return _first_number(_LOCAL_COUNT, 1)


def asked_for_several() -> bool:
    """Whether ``accelerate launch --cpu`` was asked for several processes.

    Without MPI it starts one all the same, in which only the address of a main process tells.
    """
    return (
        os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"
        and "MASTER_ADDR" in os.environ
        and count() == 1
    )


def _first_number(names: tuple[str, ...], otherwise: int) -> int:
    for name in names:
        value = os.environ.get(name, "")
        if value.isdecimal():
            return int(value)
    return otherwise
