"""Servers that do not answer: which server an error is about, and the message for the user.

Both clients retry by themselves, for about four minutes with the defaults of `tasks/runtime/home.py`: MLflow's up to
`MLFLOW_HTTP_REQUEST_MAX_RETRIES` times, Prefect's up to `PREFECT_CLIENT_MAX_RETRIES` times, and wait twice as long each
time (https://mlflow.org/docs/latest/api_reference/python_api/mlflow.environment_variables.html,
https://docs.prefect.io/v3/api-ref/settings-ref). Their errors are therefore final.
"""

import logging
import os
import re
from collections.abc import Iterator
from typing import Any

from tasks.runtime import progress
from tasks.runtime.errors import brief, causes, without_secrets

#: The message of MLflow's client if there was no answer; other errors are answers.
MLFLOW = re.compile(r"API request to \S+ failed with (timeout )?exception")


def server(error: BaseException) -> str:
    """`MLflow` or `Prefect`, if the error is that its server did not answer; else ""."""
    return next((name for name, _ in _causes(error)), "")


def message(error: BaseException) -> str:
    """The message for the user; "" if the error is a different one."""
    for name, cause in _causes(error):
        variable = "MLFLOW_TRACKING_URI" if name == "MLflow" else "PREFECT_API_URL"
        address = without_secrets(_asked(cause) or os.environ.get(variable) or "this machine")
        return (
            f"Expected the {name} server at {address} to answer, but it does not: {without_secrets(brief(cause))}. All "
            "results so far are kept. Start the server (headstart doctor shows which ones answer) and run the same "
            "command again: it continues where this one stopped."
        )
    return ""


def _asked(cause: BaseException) -> str:
    """The address that an error of httpx is about; it may come from a file that Prefect reads. "" if none is known."""
    request = getattr(cause, "_request", None)
    return f"{request.url.scheme}://{request.url.netloc.decode()}" if request else ""


def announce() -> None:
    """From now on report each time that MLflow's client asks a server again that did not answer."""
    logger = logging.getLogger("urllib3.connectionpool")
    if _announced not in logger.filters:
        logger.addFilter(_announced)


def _announced(record: logging.LogRecord) -> bool:
    """Lets all pass; urllib3 logs a broken connection with the remaining retries, the error and the path.

    It does so before the first retry, which is at once, and after each later wait.
    """
    arguments: Any = record.args
    ours = record.levelno == logging.WARNING and len(arguments) == 3 and "/mlflow" in str(arguments[2])
    if ours and (seconds := _left(arguments[0])):
        address = without_secrets(os.environ.get("MLFLOW_TRACKING_URI", "its address"))
        progress.say(f"The MLflow server at {address} does not answer; it is asked again for about {seconds:.0f} s.")
    return True


def _left(retry: Any) -> float:
    """The seconds that urllib3 will wait in all before it gives up."""
    failed = len(retry.history)
    waits = (retry.backoff_factor * 2.0 ** (failed + number) for number in range(retry.total))
    return sum(min(wait, retry.backoff_max) for wait in waits)


def _causes(error: BaseException) -> Iterator[tuple[str, BaseException]]:
    """The causes of an error that are about a server, with the server's name."""
    for each in causes(error):
        module = type(each).__module__.partition(".")[0]
        if module == "mlflow" and MLFLOW.search(str(each)):
            yield "MLflow", each
        if module == "httpx" and type(each).__name__ != "HTTPStatusError":  # that one is an answer
            yield "Prefect", each
