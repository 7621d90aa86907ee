"""What is recorded of a run: its log file, the machine's load, its waiting time, and its energy on request."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from importlib.util import find_spec
from typing import Any

from prefect.runtime import flow_run
from typing_extensions import override

from tasks.runtime import outages
from tasks.runtime.errors import UsageError, without_secrets
from tasks.runtime.home import home
from tasks.runtime.store import upkeep, uses
from tasks.services import tracking
from tasks.services.orchestration import artifacts
from tasks.settings import Observe

#: Headstart's own logger.
OURS = "headstart"
LINE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class _Bare(logging.Formatter):
    """Lines and traces without secrets: a run's log goes to the server."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


@contextmanager
def run(name: str, flow: str, settings: dict[str, Any], observe: Observe) -> Iterator[tracking.Run]:
    """The MLflow run of the current Prefect run, monitored; all records are saved at its end, also if it failed.

    The run's log is its artifact `run.log`, and stays in `HEADSTART_HOME/logs`; `queue_seconds` is how long after its
    scheduled time the run started. At its end the store is brought within its limit. Raises `UsageError` if energy is
    requested and CodeCarbon is not installed.
    """
    with uses.running(), tracking.run(name, flow, settings, flow_run.id) as current, ExitStack() as watchers:
        watchers.enter_context(_logged(current.id))
        if observe.system_metrics:
            watchers.enter_context(_system_metrics(current.id, observe.every))
        if observe.energy:
            watchers.enter_context(_energy(observe.energy, observe.every))
        scheduled = flow_run.scheduled_start_time
        waited = (datetime.now(scheduled.tzinfo) - scheduled).total_seconds()
        tracking.log_result({}, {"queue_seconds": max(waited, 0.0)})
        artifacts.tag(name)
        artifacts.link("MLflow run", name, tracking.page())
        yield current
        artifacts.stages(name, current.stages)
        cached = sum(stage.cached for stage in current.stages.values())
        tracking.log_result({}, {"stages": len(current.stages), "stages_cached": cached})
        upkeep.within_limit()


@contextmanager
def _logged(run: str) -> Iterator[None]:
    file = home() / "logs" / run / "run.log"
    file.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(_Bare(LINE))
    ours = logging.getLogger(OURS)
    ours.setLevel(logging.INFO)
    logging.getLogger().addHandler(handler)
    reachable = True
    try:
        yield
    except BaseException as error:
        ours.exception("The run has failed")
        reachable = outages.server(error) != "MLflow"  # else do not wait for it again
        raise
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
        if reachable:
            tracking.log_file(run, file)


@contextmanager
def _system_metrics(run: str, every: float) -> Iterator[None]:
    """MLflow's own: processor, memory, disk and network, and GPUs if `nvidia-ml-py` is installed."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run, sampling_interval=every)
    monitor.start()
    try:
        yield
    except BaseException as error:
        # The thread ends with the process; `finish` would call the server.
        if outages.server(error) != "MLflow":
            monitor.finish()
        raise
    monitor.finish()


@contextmanager
def _energy(country: str, every: float) -> Iterator[None]:
    """CodeCarbon's estimate, without a network: https://mlco2.github.io/codecarbon/."""
    if find_spec("codecarbon") is None:
        raise UsageError(
            f"Expected CodeCarbon for observe.energy = {country!r}, found that it is not installed: "
            "uv sync --extra energy."
        )
    from codecarbon import OfflineEmissionsTracker

    tracker = OfflineEmissionsTracker(
        country_iso_code=country,
        measure_power_secs=every,
        save_to_file=False,
        log_level="error",
        tracking_mode="process",
        allow_multiple_runs=True,
    )
    tracker.start()
    try:
        yield
    finally:
        tracker.stop()
        found = tracker.final_emissions_data
        tracking.log_result({}, {"energy_kwh": found.energy_consumed, "co2_kg": found.emissions})
