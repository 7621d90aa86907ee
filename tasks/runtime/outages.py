"""Servers that do not answer: which of them an error tells of, and what to say to a person.

Both clients wait by themselves, about four minutes with `tasks/runtime/home.py`'s defaults: MLflow's sends a request up
to `MLFLOW_HTTP_REQUEST_MAX_RETRIES` times more, Prefect's up to `PREFECT_CLIENT_MAX_RETRIES` times, each time after
twice as long (https://mlflow.org/docs/latest/api_reference/python_api/mlflow.environment_variables.html,
https://docs.prefect.io/v3/api-ref/settings-ref). An error that comes out of them is therefore final.
"""

import logging
import os
import re
from collections.abc import Iterator
from typing import Any

from tasks.runtime import progress
from tasks.runtime.errors import brief

#: What MLflow's client says when no answer came; other errors are answers.
MLFLOW = re.compile(r"API request to \S+ failed with (timeout )?exception")


def server(error: BaseException) -> str:
    """`MLflow` or `Prefect`, where the error is that its server did not answer; else ""."""
    return next((name for name, _ in _causes(error)), "")


def told(error: BaseException) -> str:
    """A paragraph for a person, "" where the error is another one."""
    for name, cause in _causes(error):
        address = os.environ.get("MLFLOW_TRACKING_URI" if name == "MLflow" else "PREFECT_API_URL") or "this machine"
        return (
            f"Expected the {name} server at {address} to answer, found that it does not: {brief(cause)}. What was "
            "computed is kept. Start the server (headstart doctor says which ones answer) and give the same command "
            "again: it goes on where this one stopped."
        )
    return ""


def announce() -> None:
    """From now on say so when MLflow's client waits for the server, each time before it asks again."""
    logger = logging.getLogger("urllib3.connectionpool")
    if _announced not in logger.filters:
        logger.addFilter(_announced)


def _announced(record: logging.LogRecord) -> bool:
    """Lets all pass; urllib3 logs a broken connection with what is left of the retries, the error and the path."""
    arguments: Any = record.args
    if record.levelno == logging.WARNING and len(arguments) == 3 and "/mlflow" in str(arguments[2]):
        seconds = arguments[0].get_backoff_time()
        if seconds > 1:
            progress.say(f"The MLflow server does not answer; asking again in {seconds:.0f} s.")
    return True


def _causes(error: BaseException) -> Iterator[tuple[str, BaseException]]:
    """The parts of an error that tell of a server, with the server's name."""
    each: BaseException | None = error
    while each is not None:
        module = type(each).__module__.partition(".")[0]
        if module == "mlflow" and MLFLOW.search(str(each)):
            yield "MLflow", each
        if module == "httpx" and type(each).__name__ != "HTTPStatusError":  # which is an answer
            yield "Prefect", each
        each = each.__cause__ or each.__context__
