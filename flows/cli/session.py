"""What a person sees of a command, and the log file that holds the rest.

Third-party libraries write to both streams at will (TensorFlow's C++ code among them). While a command works, the
process' own standard output and error go to the log file; what is meant for the user goes to where they were.
"""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

import typer

from tasks.runtime import home, outages, progress
from tasks.runtime.errors import HeadstartError

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Session:
    """Streams and files of one command."""

    console: "Console"  # standard error: progress and messages
    answers: "Console"  # standard output: tables and lines that were asked for
    out: TextIO  # standard output, for JSON
    log: Path


@contextmanager
def session(command: str, folder: Path | None = None) -> Iterator[Session]:
    """Set the environment up, keep third parties quiet, and turn errors into a paragraph and an exit code."""
    from rich.console import Console

    asked = threading.Event()

    def interrupt(number: int, frame: object) -> None:
        asked.set()
        raise KeyboardInterrupt

    # SIGTERM as Ctrl-C: the Prefect server that this process started would stay behind otherwise.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    root = home.configure(folder)
    log = root / "logs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{command}.log"
    log.parent.mkdir(exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    out, err = os.fdopen(os.dup(1), "w"), os.fdopen(os.dup(2), "w")
    console = Console(file=err, highlight=False)
    # In a pipe there is no width to keep to.
    answers = Console(file=out, highlight=False, width=None if out.isatty() else 160)
    with log.open("a", buffering=1) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        progress.console = console
        try:
            yield Session(console, answers, out, log)
        except typer.Exit:
            raise
        except HeadstartError as error:
            _tell(console, str(error), error.exit_code)
        except (Exception, KeyboardInterrupt) as error:
            # Where it meets a library that waits for others, an interrupt comes out as an error of theirs.
            if asked.is_set() or isinstance(error, KeyboardInterrupt):
                _tell(console, f"Interrupted. The same command goes on where this one stopped. Log: {log}", 130)
            _tell(console, f"{outages.told(error) or _unforeseen(error)} The trace is in {log}", 3)
        finally:
            # The streams stay with the log file: what libraries say at exit is not for the user either.
            progress.console = None
            out.close()
            err.close()


def _tell(console: "Console", text: str, code: int) -> NoReturn:
    traceback.print_exc()
    console.print(f"[bold red]Error.[/] {_escape(text)}" if code != 130 else _escape(text), soft_wrap=True)
    raise typer.Exit(code)


def _unforeseen(error: Exception) -> str:
    return f"Something that the run depends on failed: {type(error).__name__}: {error}".rstrip(".") + "."


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
