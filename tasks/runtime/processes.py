"""Names of processes, whether a process is still running, and whether this machine has a GPU.

The names are unique across machines.
"""

import os
import shutil
import socket

import psutil

#: Environment variable with a process's name, for the processes that it starts.
PARENT = "HEADSTART_PROCESS"


def own() -> str:
    """This process as HOST/PID/START; START, in seconds since 1970, differs for a later one with the same PID."""
    return f"{socket.gethostname()}/{os.getpid()}/{int(psutil.Process().create_time())}"


def gone(name: str) -> bool:
    """Whether the process was on this machine and has ended; False for other machines, which cannot be checked."""
    host, *numbers = name.rsplit("/", 2)
    if host != socket.gethostname() or not all(part.isdigit() for part in numbers) or len(numbers) != 2:
        return False
    number, start = map(int, numbers)
    try:
        process = psutil.Process(number)
        return int(process.create_time()) != start or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def has_gpu() -> bool:
    """Whether an NVIDIA driver is installed."""
    return shutil.which("nvidia-smi") is not None
