"""Names of processes, whether a process has ended, and whether this machine has a GPU.

A process's number says who it is only inside one PID namespace of one boot of one machine: each container counts anew
(https://man7.org/linux/man-pages/man7/pid_namespaces.7.html). So a name says all three, and when the process started,
since numbers are used again. The kernel drops a process's file lock with the process: that tells of one in another
container with the same home.
"""

import os
import shutil
import socket
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import psutil

from tasks.runtime.home import home

#: Environment variable with a process's name, for the processes that it starts.
PARENT = "HEADSTART_PROCESS"
#: The PID namespace of a machine itself, outside all containers (PROC_PID_INIT_INO of Linux's proc_ns.h).
OUTERMOST = str(0xEFFFFFFC)


class Place(NamedTuple):
    """Where the number of a process is known; all but the host are "" where the system is not Linux."""

    host: str
    machine: str
    boot: str
    namespace: str


def own() -> str:
    """This process as HOST/MACHINE/BOOT/NAMESPACE/PID/START, another one for each process that ever was.

    START: clock ticks since the boot, elsewhere than on Linux seconds since 1970.
    """
    name = "/".join([*_here(), str(os.getpid()), _start(os.getpid())])
    _lock(name)
    return name


def gone(name: str) -> bool:
    """Whether the process has ended, as far as that can be known from here; False if it cannot."""
    host, *rest = name.split("/")
    if not all(part.isdigit() for part in rest[-2:]):
        return False
    if len(rest) == 2:  # as it was written before places were: HOST/PID/START
        return _here() in (Place(host, *_here()[1:3], OUTERMOST), Place(host, "", "", "")) and _older(*rest)
    if len(rest) != 5:
        return False
    place, here, number, start = Place(host, *rest[:3]), _here(), rest[3], rest[4]
    if place == here or (here.boot and place[2:] == here[2:]):  # a host may have been renamed
        return _start(int(number)) not in (start, "unknown")
    if here.boot == place.boot != "":
        return _unlocked(name)
    # Started anew since: the machine itself, as containers are often of one name and one image.
    return bool(here.machine) and place == here._replace(boot=place.boot) and here.namespace == OUTERMOST


def forget() -> None:
    """Delete the lock files of processes that have ended, once nothing of theirs is left."""
    for file in _files().glob("*.lock"):
        if _free(file):
            file.unlink(missing_ok=True)


def end_all(code: int) -> None:
    """End this process and all that it has started, at once, with this exit code."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()
    os._exit(code)


@cache
def _here() -> Place:
    namespace = ""
    with suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").readlink()).strip("pid:[]")
    machine, boot = map(_read, ("/etc/machine-id", "/proc/sys/kernel/random/boot_id"))
    return Place(socket.gethostname(), machine[:12], boot[:13], namespace)


def _read(file: str) -> str:
    with suppress(OSError):
        return Path(file).read_text().strip()
    return ""


def _start(number: int) -> str:
    """When the process with this number started; "" if there is none, "unknown" if that is hidden."""
    if not _here().namespace:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(number)
            return "" if process.status() == psutil.STATUS_ZOMBIE else str(int(process.create_time()))
        return ""
    # The name of the command, in brackets, may hold anything (man 5 proc_pid_stat).
    _, _, fields = _read(f"/proc/{number}/stat").rpartition(")")
    if not fields:
        return "unknown" if psutil.pid_exists(number) else ""
    state, start = fields.split()[0], fields.split()[19]
    return "" if state in "ZX" else start


def _older(number: str, start: str) -> bool:
    try:
        process = psutil.Process(int(number))
        # The clock may have been set since.
        return abs(process.create_time() - int(start)) > 2 or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


#: Open files by name, which hold a lock as long as they are open: as long as this process lives.
_locks: dict[str, int] = {}


def _lock(name: str) -> None:
    """Hold a lock of this process's name until it ends; where the disk knows no locks, do without."""
    if name in _locks or not _here().namespace or sys.platform == "win32":
        return
    from fcntl import LOCK_EX, LOCK_NB, flock

    with suppress(OSError):
        _files().mkdir(parents=True, exist_ok=True)
        _locks[name] = os.open(_file(name), os.O_WRONLY | os.O_CREAT, 0o600)
        flock(_locks[name], LOCK_EX | LOCK_NB)


def _unlocked(name: str) -> bool:
    return _file(name).is_file() and _free(_file(name))


def _free(file: Path) -> bool:
    if sys.platform == "win32":
        return False
    from fcntl import LOCK_NB, LOCK_SH, flock

    try:
        with file.open("rb") as opened:
            flock(opened, LOCK_SH | LOCK_NB)
    except OSError:
        return False
    return True


def _files() -> Path:
    return home() / "processes"


def _file(name: str) -> Path:
    return _files() / f"{quote(name, safe='')}.lock"


def has_gpu() -> bool:
    """Whether an NVIDIA driver is installed."""
    return shutil.which("nvidia-smi") is not None
