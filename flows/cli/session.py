"""What a command shows to a person, and the log file for the rest.

Third-party libraries write to both streams at will (TensorFlow's C++ code among them). While a command works, the
process' standard output and error go to the log file; output for the user goes to the original streams.
"""

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import typer

from tasks.runtime import escapes, home, outages, processes, progress
from tasks.runtime.errors import HeadstartError, causes, disk_full, not_writable, without_secrets

if TYPE_CHECKING:
    from rich.console import Console


#: Seconds that a command may take to end after an interrupt.
ENDS = 60


@dataclass(frozen=True)
class Session:
    """Streams and files of one command."""

    console: "Console"  # standard error: progress and messages
    answers: "Console"  # standard output: tables and lines of the answer
    out: TextIO  # standard output, for JSON
    log: Path

    def show(self, found: Any, as_json: bool, print_text: Callable[[], None]) -> None:
        """Print a command's result: as one JSON object if `as_json`, else with `print_text`."""
        if as_json:
            print(json.dumps(found), file=self.out)
        else:
            print_text()

    def say(self, text: str, style: str = "") -> None:
        """A paragraph on standard output."""
        self.answers.print(escapes.printable(text), style=style or None, markup=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """A message on standard error."""
        self.console.print(escapes.printable(text), markup=False, soft_wrap=True)


@dataclass(frozen=True)
class _Streams:
    """Where a command's answers and messages go; what libraries write goes into its log file."""

    out: TextIO
    err: TextIO


#: Set while the command owns its process; inside another one, such as the tests', it leaves streams and signals alone.
_own: ContextVar[_Streams | None] = ContextVar("own", default=None)


@contextmanager
def own_process() -> Iterator[None]:
    """Inside, a session redirects the process' streams to its log file, and SIGTERM ends it like Ctrl-C."""
    _open_closed()
    sys.stdout.flush()
    sys.stderr.flush()
    with os.fdopen(os.dup(1), "w") as out, os.fdopen(os.dup(2), "w") as err:
        token = _own.set(_Streams(out, err))
        try:
            yield
        finally:
            _own.reset(token)
            # The answer is given. Raised while the interpreter ends, an interrupt would be an error of some library.
            _on_signals(lambda number, frame: processes.end_all(130))


def _open_closed() -> None:
    """Nowhere in the place of each standard stream that is closed: else the next file that is opened becomes it."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


@contextmanager
def session(command: str, folder: Path | None = None) -> Iterator[Session]:
    """Set the environment up, keep third parties quiet, and turn errors into a paragraph and an exit code."""
    from rich.console import Console

    interrupted = threading.Event()
    own = _own.get()
    streams = own or _Streams(sys.stdout, sys.stderr)
    if own:
        _listen(interrupted)
    console = Console(file=streams.err, highlight=False)
    try:
        root = home.configure(folder)
    except HeadstartError as error:
        _fail(console, None, str(error), error.exit_code)
    log = root / "logs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{command}.log"
    # A pipe has no width.
    answers = Console(file=streams.out, highlight=False, width=None if streams.out.isatty() else 160)
    with _opened(log) as file:
        if own:
            threading.Thread(target=_end_if_stuck, args=(interrupted, console, log), daemon=True).start()
            # The streams stay with the log file: libraries' output at exit is not for the user either.
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        progress.console = console
        try:
            yield Session(console, answers, streams.out, log)
        except typer.Exit:
            raise
        except BrokenPipeError:
            # Who reads the answer, such as head, has seen enough.
            _discard(streams.out)
        except (Exception, KeyboardInterrupt) as error:
            # A library that is at work may turn the interrupt into an error of its own.
            if interrupted.is_set() or _by_signal(error):
                _fail(console, file, f"Interrupted. Run the same command again to continue. Log: {log}", 130)
            if isinstance(error, HeadstartError):
                # What looks like bad data may be a file that could not be written.
                full = disk_full(error) and (home.full() or disk_full(error))
                _fail(console, file, full or str(error), 3 if full else error.exit_code)
            text = home.full() or disk_full(error) or outages.message(error) or not_writable(error)
            text = text or home.wrong_setting(error) or _unexpected(error)
            _fail(console, file, f"{text} The trace is in {log}" if log.exists() else text, 3)
        finally:
            progress.console = None
            _flush(streams, console)


def _by_signal(error: BaseException) -> bool:
    """Whether a signal has led to this error; within a flow run, Prefect raises one of its own for SIGTERM."""
    prefect = sys.modules.get("prefect.exceptions")
    kinds = (KeyboardInterrupt, prefect.TerminationSignal) if prefect else KeyboardInterrupt
    return any(isinstance(each, kinds) for each in causes(error))


@contextmanager
def _opened(log: Path) -> Iterator[TextIO]:
    """The log file. A full disk must not hide the error that it has caused, nor stop `headstart store prune`."""
    try:
        log.touch()
    except OSError:
        log = Path(os.devnull)
    file = log.open("a", buffering=1)
    try:
        yield file
    finally:
        with suppress(OSError):
            file.close()


def _listen(interrupted: threading.Event) -> None:
    began = 0.0

    def interrupt(number: int, frame: object) -> None:
        nonlocal began
        if interrupted.is_set():
            # A second one ends what the first one has begun, and leaves no server. One key may send two at once.
            if time.monotonic() - began > 1:
                processes.end_all(130)
            return
        began = time.monotonic()
        interrupted.set()
        raise KeyboardInterrupt

    # Like Ctrl-C: otherwise the Prefect server that this process started would keep running.
    _on_signals(interrupt)


def _end_if_stuck(interrupted: threading.Event, console: "Console", log: Path) -> None:
    """End what an interrupt has not ended: a library may hold it up, and who sends a signal may send one only."""
    interrupted.wait()
    time.sleep(ENDS)
    with suppress(OSError):
        console.print(f"Ended after {ENDS} s without an end. Run the same command again to continue. Log: {log}")
    processes.end_all(130)


def _on_signals(do: Callable[[int, object], None]) -> None:
    """What an interrupt, a request to end and a closed terminal do from now on."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, do)
    # A terminal that is closed; nohup lets a command go on.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, do)


def _flush(streams: _Streams, console: "Console") -> None:
    try:
        streams.out.flush()
    except BrokenPipeError:
        _discard(streams.out)
    except OSError as error:
        _discard(streams.out)
        _fail(console, None, f"The answer could not be written: {error.strerror}.", 3)
    finally:
        # The terminal may be gone, and the disk of the log full; Python would end with a code of its own.
        for stream in (streams.err, sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                _discard(stream)


def _discard(out: TextIO) -> None:
    """Send what is still in the stream's buffer nowhere: another write would fail at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, out.fileno())
    os.close(nowhere)


def _fail(console: "Console", log: TextIO | None, text: str, code: int) -> NoReturn:
    if log:
        with suppress(OSError):  # the log is on the disk that is full
            log.write(without_secrets(traceback.format_exc()))
    with suppress(OSError):  # the terminal is gone
        console.print(f"[bold red]Error.[/] {_escape(text)}" if code != 130 else _escape(text), soft_wrap=True)
    raise typer.Exit(code)


def _unexpected(error: BaseException) -> str:
    from tasks.services import packages

    text = f"Something that the run depends on failed: {type(error).__name__}: {error}".rstrip(".") + "."
    if wrong := packages.unmet():
        text += f" Packages are of other versions than Headstart needs: {'; '.join(wrong)}."
        text += " Install it in an environment of its own."
    return text


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(escapes.printable(without_secrets(text)))
