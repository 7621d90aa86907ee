"""What goes wrong around a command: a cut network, a clock that goes back, a full disk, a flipped bit."""

import os
import random
import socket
import struct
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

#: Answers for the system's clock, moved by the seconds that the file in CLOCK_MOVED holds.
CLOCK = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static pid_t owner;
static long *seconds;

static long moved(void) {
    if (owner != getpid()) {
        const char *name = getenv("CLOCK_MOVED");
        int file = name ? open(name, O_RDONLY) : -1;
        seconds = 0;
        if (file >= 0) {
            void *there = mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
            close(file);
            if (there != MAP_FAILED) {
                seconds = there;
                owner = getpid();
            }
        }
    }
    return seconds ? *seconds : 0;
}

int clock_gettime(clockid_t id, struct timespec *found) {
    int code = syscall(SYS_clock_gettime, id, found);
    if (!code && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) found->tv_sec += moved();
    return code;
}

int gettimeofday(struct timeval *found, void *zone) {
    struct timespec now;
    int code = clock_gettime(CLOCK_REALTIME, &now);
    (void)zone;
    found->tv_sec = now.tv_sec;
    found->tv_usec = now.tv_nsec / 1000;
    return code;
}

time_t time(time_t *found) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (found) *found = now.tv_sec;
    return now.tv_sec;
}
"""


class Clock:
    """The clock of processes that have `env` in their environment from their first moment."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file, library = folder, folder / "clock", folder / "clock.so"
        self.set(0)
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", library], input=CLOCK, text=True, check=True
        )
        self.env = {"LD_PRELOAD": str(library), "CLOCK_MOVED": str(self.file)}

    def set(self, seconds: int) -> None:
        """Move it by so many seconds, for processes that run too."""
        with self.file.open("r+b" if self.file.exists() else "wb") as file:
            file.write(struct.pack("l", seconds))


class Proxy:
    """A port of this machine that leads to another one, until it is cut."""

    def __init__(self, upstream: int) -> None:
        self.upstream, self.open = upstream, True
        self.connections: set[socket.socket] = set()
        self.listener = self._listen(0)
        self.port = self.listener.getsockname()[1]

    def cut(self) -> None:
        """Close all connections and refuse new ones."""
        self.open = False
        self.listener.shutdown(socket.SHUT_RDWR)  # closing alone would let one more in
        self.listener.close()
        for each in list(self.connections):
            with suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                each.close()

    def mend(self) -> None:
        """Lead to the other port again."""
        if not self.open:
            self.open = True
            self.listener = self._listen(self.port)

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=100)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.upstream))
            except OSError:
                near.close()
                continue
            self.connections |= {near, far}
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(1 << 16):
                other.sendall(data)
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
            self.connections.discard(each)


class Disk:
    """A disk of its own for a folder, in memory; needs the rights to mount one."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder, self.ballast = folder, folder / "ballast"
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder], check=True)

    def fill(self, free: int = 0) -> None:
        """Leave so many bytes."""
        room = os.statvfs(self.folder)
        with self.ballast.open("wb") as file, suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, max(1, room.f_bavail * room.f_frsize - free))

    def free(self) -> None:
        """Give the room back."""
        self.ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """Take the disk away, with what is on it."""
        subprocess.run(["umount", "-l", self.folder], check=True)


def flip(folder: Path, draw: random.Random) -> Path | None:
    """Flip one bit in one file of a folder; which one, None if there is none."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    files = [file for file in files if file.stat().st_size]
    if not files:
        return None
    found = draw.choice(files)
    with suppress(FileNotFoundError), found.open("r+b") as file:
        at = draw.randrange(found.stat().st_size)
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1 << draw.randrange(8)]))
    return found
