"""What a reader may not do: write outside of its folder, start a program, or use the network."""

import os
import sys
from pathlib import Path
from typing import Any

#: Their first argument, and the second of some, is a path that is written.
WRITES = {
    "os.mkdir": 1, "os.remove": 1, "os.rmdir": 1, "os.truncate": 1, "os.chmod": 1, "os.rename": 2, "os.link": 2,
    "os.symlink": 2, "shutil.rmtree": 1, "sqlite3.connect": 1,
}  # fmt: skip
#: Their last argument is an open folder that a path is relative to, or negative.
IN_FOLDERS = ("os.mkdir", "os.remove", "os.rmdir", "os.rename", "os.link", "os.symlink", "shutil.rmtree")
STARTS = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "pty.spawn",
)
NETWORK = ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "urllib.Request", "ftplib.connect")


class Escaped(BaseException):
    """A reader did what it may not do. No handler of `Exception` takes it."""


class Guard:
    """Watches this process while `on` is true; each attempt is stopped and written down."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.on, self.seen = str(folder.resolve()), False, ""
        sys.addaudithook(self._event)

    def _event(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in STARTS or event in NETWORK:
            self._stop(event, args)
        elif event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            self._inside(event, args[0])
        elif event in WRITES:
            # A rename's target counts, and so does a link's place.
            self._inside(
                event, args[WRITES[event] - 1], isinstance(args[-1], int) and args[-1] >= 0 and event in IN_FOLDERS
            )

    def _inside(self, event: str, path: Any, within: bool = False) -> None:
        # What is relative to an open folder is inside one that was opened by its path.
        if isinstance(path, str | bytes | os.PathLike) and not within:
            place = os.path.abspath(os.fsdecode(path))  # noqa: PTH100
            if not place.startswith((self.folder, "/dev/null")):
                self._stop(event, (place,))

    def _stop(self, event: str, args: tuple[Any, ...]) -> None:
        self.on, self.seen = False, f"{event} {args!r:.200}"
        raise Escaped(self.seen)
