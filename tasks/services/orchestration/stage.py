"""A stage: a Prefect task whose result is cached by the digest of all its inputs, with a nested MLflow run.

Prefect's own `INPUTS` policy leaves the task out of the key and hashes by pickle; here the key is made of the stage's
name, its code version, the settings and the digests of the records
(https://docs.prefect.io/v3/concepts/caching).
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

from prefect import task
from prefect.client.schemas.objects import TaskRun
from prefect.states import State
from prefect.tasks import Task
from pydantic import BaseModel

from tasks.records import Record, StageLog, digest
from tasks.runtime import outages, progress
from tasks.runtime.errors import Lost, disk_full
from tasks.runtime.store import folders, tables
from tasks.services import tracking
from tasks.services.orchestration import artifacts, results
from tasks.settings import StageSettings
from tasks.training import checkpoints

#: Libraries whose errors may mean that a server or a database did not answer.
REMOTE = ("mlflow", "httpx", "sqlalchemy")

#: How often a stage is started again because rows that it reads were lost; more often the disk itself is at fault.
AGAIN = 5

_refresh: ContextVar[bool] = ContextVar("refresh", default=False)


@contextmanager
def refreshing(wanted: bool) -> Iterator[None]:
    """Inside, if `wanted`, stages are computed again, and their results replace the cached ones."""
    token = _refresh.set(wanted)
    try:
        yield
    finally:
        _refresh.reset(token)


class Stage:
    """A function of settings and records that returns a record, run as a cached Prefect task."""

    def __init__(
        self,
        body: Callable[..., Any],
        version: int,
        reads: Callable[..., Any],
        there: Callable[[Any], bool],
        tells: Callable[[Any], None],
    ) -> None:
        self.name = self.label = body.__name__
        self.__doc__ = body.__doc__
        self.version = version
        self.reads = reads
        self.there = there
        self.tells = tells
        self.body = body
        self.task: Task[..., Any] = task(
            body,
            name=self.name,
            persist_result=True,
            retries=2,
            retry_delay_seconds=[2, 10],
            retry_condition_fn=_may_pass_next_time,
        )

    def labelled(self, label: str) -> "Stage":
        """The same stage with this name for its runs, for flows that run it several times."""
        other = copy(self)
        other.label = label
        return other

    def digest(self, *args: Any) -> str:
        """The result's cache key: equal inputs, stage and code version give an equal digest."""
        return digest(self.name, self.version, args, self.reads(*args))

    def cached(self, *args: Any) -> bool:
        """Whether the result is cached, checked without a server; False if results are stored elsewhere."""
        return Path(os.environ.get("PREFECT_LOCAL_STORAGE_PATH", ""), self.digest(*args)).is_file()

    def __call__(self, *args: Any, **hints: Any) -> Any:
        """Take the result from the cache or compute it, and write the stage's MLflow run.

        Where rows of a table are lost, the stage that fills it computes them again first. `hints`: arguments that do
        not change the result and are not part of its cache key.
        """
        fills, turns = tracking.current().fills, 0
        while True:
            try:
                record = self._once(args, hints)
                break
            except Lost as loss:
                turns += 1
                if turns > AGAIN:
                    raise
                for fill in list(fills.get(loss.table, {}).values()):
                    fill()
        for table in record.stored:
            fills.setdefault(table, {})[record.digest] = partial(self._filled, args, hints)
        return record

    def _filled(self, args: tuple[Any, ...], hints: dict[str, Any]) -> None:
        """Run the stage again although its result is cached: it computes what its tables lack."""
        with refreshing(True):
            self(*args, **hints)

    def _once(self, args: tuple[Any, ...], hints: dict[str, Any]) -> Any:
        started = time.perf_counter()
        key = self.digest(*args)
        settings: dict[str, Any] = {}
        for each in args:
            if isinstance(each, StageSettings):
                settings |= each.model_dump()
            elif isinstance(each, BaseModel):
                settings[type(each).__name__.lower()] = each.model_dump()
        with tracking.stage(self.label, key, settings):
            with _shown(f"{tracking.current().name} {self.label}"):
                record, cached = self._run(args, hints, key)
            checkpoints.forget(record.digest)
            log = StageLog(round(time.perf_counter() - started, 3), cached)
            rate = {} if cached else _rate(record, log.seconds)
            tracking.finish_stage(self.label, log, record.numbers | rate)
            self.tells(record)
        progress.say(f"{self.label:<15}{log.seconds:8.1f} s{'   cached' if cached else ''}")
        return record

    def _run(self, args: tuple[Any, ...], hints: dict[str, Any], key: str) -> tuple[Any, bool]:
        anew = _refresh.get() or not results.sound(key)
        if anew:
            results.forget(key)
        run = self.task.with_options(
            cache_key_fn=lambda context, parameters: key,
            task_run_name=f"{tracking.current().name} {self.label}",
            refresh_cache=anew,
        )
        state = run(*args, **hints, return_state=True)
        if state.name == "Cached":
            record = _kept(state)
            if record is not None and self.there(record):
                return record, True
            # The record's files are damaged or gone, or another version wrote it in another form.
            results.forget(key)
            state = run.with_options(refresh_cache=True)(*args, **hints, return_state=True)
        found = state.result()
        results.note(key)
        return found, False


def stage(
    version: int,
    reads: Callable[..., Any] = lambda *args: None,
    there: Callable[[Any], bool] = lambda record: (
        not folders.missing(record.files) and not tables.absent(record.stored)
    ),
    tells: Callable[[Any], None] = lambda record: None,
) -> Callable[[Callable[..., Any]], Stage]:
    """Make a function a stage.

    Raise `version` when the results change. `reads`: what the stage reads besides its arguments. `there`: whether the
    files and tables of a cached record still exist. `tells`: tells MLflow of the result, cached or not.
    """
    return lambda body: Stage(body, version, reads, there, tells)


@contextmanager
def _shown(name: str) -> Iterator[None]:
    """Inside, the progress of work is on Prefect's page of the run."""
    shown = artifacts.Progress(name)
    token = progress.watcher.set(shown)
    try:
        yield
    finally:
        progress.watcher.reset(token)
    shown.end()


def _kept(state: State[Any]) -> Record | None:
    """The record of a cached state; None if this version does not know its class or fields.

    Prefect returns a plain dictionary for a class that no longer exists, and raises an error for other fields.
    """
    try:
        record = state.result()
    except (TypeError, ValueError):  # pydantic's errors are ValueErrors
        return None
    return record if isinstance(record, Record) else None


def _rate(record: Record, seconds: float) -> dict[str, float]:
    """Images per second, for stages that count what they compute."""
    computed = getattr(record, "computed", 0)
    return {"images_per_second": computed / seconds} if computed else {}


def _may_pass_next_time(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Files and servers may come back; other errors would happen again.

    For a server that is down, its own client has already waited; a full disk stays full.
    """
    error = state.result(raise_on_failure=False)
    if outages.server(error) or disk_full(error):
        return False
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in REMOTE
