"""Where a run keeps its state, and the environment that its libraries read before they are imported."""

import os
import sys
from pathlib import Path
from typing import Any

# OpenVINO's converter reports its use over the network, from a forked process; only CI=true switches that off. Without
# this package it sends nothing.
loaded: dict[str, Any] = sys.modules
loaded.setdefault("openvino_telemetry", None)

DEFAULTS = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # A busy machine needs more than Prefect's 20 seconds; Prefect then started a second server and left the first one.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # The clients of MLflow and Prefect wait about four minutes for a server, twice as long after each try. Prefect's
    # default is one minute.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "7",
    "PREFECT_CLIENT_MAX_RETRIES": "7",
    "GX_ANALYTICS_ENABLED": "false",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # TensorFlow does not use oneDNN's kernels without AVX-512; with AVX2 they train 1.6 times as fast.
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "LANCE_LOG": "error",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # The package versions that a model needs are given; the project that trained it is not part of it.
    "MLFLOW_UV_AUTO_DETECT": "false",
}


def home() -> Path:
    """The folder of all state: `HEADSTART_HOME`, else `.headstart` in the current folder. Always absolute."""
    return Path(os.environ.get("HEADSTART_HOME") or ".headstart").absolute()


def configure(folder: Path | None = None) -> Path:
    """Set environment variables for MLflow, Prefect and other libraries; the user's own values win.

    Must run before any of them is imported. Returns the home folder, created.
    """
    if folder is not None:
        os.environ["HEADSTART_HOME"] = str(folder.absolute())
    root = home()
    root.mkdir(parents=True, exist_ok=True)
    defaults = DEFAULTS | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{root / 'mlflow.db'}",
        "PREFECT_HOME": str(root / "prefect"),
        "PREFECT_LOCAL_STORAGE_PATH": str(root / "prefect" / "results"),
        # A process reads the results of other runs: a stage is found by its digest, whichever run computed it.
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    return root
