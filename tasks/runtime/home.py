"""Where a run keeps its state, and the environment that its libraries read before they are imported."""

import os
import sys
from pathlib import Path
from typing import Any

# OpenVINO's converter reports its use over the network, from a forked process, and knows no switch but CI=true. Without
# this package it does without.
loaded: dict[str, Any] = sys.modules
loaded.setdefault("openvino_telemetry", None)

DEFAULTS = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # A busy machine takes longer than Prefect's 20 seconds; it started a second server then and left the first behind.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # A server that is away is waited for about four minutes, by MLflow's client and by Prefect's, which by itself waits
    # for one: after each try twice as long.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "7",
    "PREFECT_CLIENT_MAX_RETRIES": "7",
    "GX_ANALYTICS_ENABLED": "false",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # TensorFlow leaves oneDNN's kernels off where a processor has no AVX-512; with AVX2 they train 1.6 times as fast.
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "LANCE_LOG": "error",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # The versions that a model needs are given; the project that trained it is not part of it.
    "MLFLOW_UV_AUTO_DETECT": "false",
}


def home() -> Path:
    """The folder of all state: `HEADSTART_HOME`, else `.headstart` in the current folder. Always absolute."""
    return Path(os.environ.get("HEADSTART_HOME") or ".headstart").absolute()


def configure(folder: Path | None = None) -> Path:
    """Set what MLflow, Prefect and the quiet libraries read from the environment; what the user set wins.

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
        # One process reads the results of another run: a stage is found by its digest, whoever computed it.
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    return root
