"""Run what is served until a signal says stop.

Prefect's `serve` asks its server to end each run, and waits for minutes if that is away
(https://docs.prefect.io/v3/concepts/deployments#static-infrastructure). Here its runner works in a thread, so that
this one hears a signal at once, and the process ends within ten seconds whatever answers.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import psutil
from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner

from flows.deployments.servers import OwnServer
from tasks.runtime import processes, progress
from tasks.runtime.errors import DependencyError

#: Seconds for runs to end by themselves; for their last states to be written; in all.
LEAVES, WRITES, ENDS = 4.0, 2.0, 9.0


def until_interrupted(
    deployments: Iterable[RunnerDeployment], server: OwnServer | None, served: Callable[[str], None]
) -> None:
    """Serve the deployments until `KeyboardInterrupt`; then runs under way are cancelled.

    `served` is called with the name of each that the server has: what is announced from then on starts a run. Raises
    `DependencyError` if the runner or the server cannot go on.
    """
    runner, failed = Runner(), list[BaseException]()
    for deployment in deployments:
        runner.add_deployment(deployment)
        served(f"{deployment.flow_name}/{deployment.name}")
    loop, ended = asyncio.new_event_loop(), threading.Event()

    def work() -> None:
        try:
            loop.run_until_complete(runner.start())
        except BaseException as error:
            failed.append(error)
        finally:
            loop.close()
            ended.set()

    thread = threading.Thread(target=work, name="runner", daemon=True)
    thread.start()
    try:
        # Until Python 3.13, an interrupt in the `join` of a thread makes that look as if it had ended.
        while not ended.wait(1.0):
            pass
        raise DependencyError("Prefect has stopped serving: see the log.") from (failed[0] if failed else None)
    except KeyboardInterrupt:
        # What is then still waiting for a server, at the end of the interpreter too, is left behind.
        last = threading.Timer(ENDS, processes.end_all, [0])
        last.daemon = True
        last.start()
        if server and server.error:
            raise
        progress.say("Stopping: runs under way are cancelled.")
    finally:
        _stop(runner, loop, thread, server)


def _stop(runner: Runner, loop: asyncio.AbstractEventLoop, thread: threading.Thread, server: OwnServer | None) -> None:
    """End the runner: by asking it, then by ending the processes of its runs, then by leaving it behind."""
    runs = [each for each in psutil.Process().children(recursive=True) if server is None or not server.owns(each)]
    if thread.is_alive():
        with suppress(RuntimeError):  # it has just ended, or not yet begun
            asyncio.run_coroutine_threadsafe(runner.astop(), loop)
        deadline = time.monotonic() + LEAVES
        while time.monotonic() < deadline and thread.is_alive():
            thread.join(0.2)
    for run in runs:
        with suppress(psutil.NoSuchProcess):
            run.kill()
    thread.join(WRITES)
