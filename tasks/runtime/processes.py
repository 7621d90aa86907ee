"""What this machine has, which process does something, and whether it is still there.

Processes have names that other machines can tell apart.
"""

import os
import shutil
import socket

import psutil

#: Environment variable that a process hands to what it starts: its own name.
PARENT = "HEADSTART_PROCESS"


def own() -> str:
    """This process as HOST/PID/START; START in seconds since 1970 tells it from a later one with the same number."""
    return f"{socket.gethostname()}/{os.getpid()}/{int(psutil.Process().create_time())}"


def gone(name: str) -> bool:
    """Whether the process was one of this machine and has ended; of other machines' nothing can be told."""
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
    """Whether an NVIDIA driver is here."""
    return shutil.which("nvidia-smi") is not None
