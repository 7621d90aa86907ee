"""Flows: how the stages are wired together, the command `headstart`, and the interface for Python.

    from flows import load, train

    outcome = train(load("pets.toml", "head.kind=mlp"))
    print(outcome.version.version, outcome.report.metrics["accuracy"])

`train`, `check`, `compare`, `retrain`, `score`, `promote` and `rollback` are Prefect flows: they can be called from a
script, a notebook or a flow of your own, where they are subflows. `load` reads a recipe, from a file or by the name of
a shipped one. Errors that a person can mend are `tasks.runtime.errors.HeadstartError`. State is kept where
`HEADSTART_HOME` says; import these names before Prefect and MLflow, or set their variables yourself.
"""

import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.compare import compare
    from flows.promote import promote, rollback
    from flows.recipes import load
    from flows.retrain import retrain
    from flows.score import score
    from flows.train import check, train

__all__ = ["check", "compare", "load", "promote", "retrain", "rollback", "score", "train"]

#: The file that each name is in.
FILES = {
    "check": "train",
    "compare": "compare",
    "load": "recipes",
    "promote": "promote",
    "retrain": "retrain",
    "rollback": "promote",
    "score": "score",
    "train": "train",
}


def _of_a_worker() -> None:
    """Configure the process in which a worker runs a deployment: it imports this package after Prefect.

    Raises `DependencyError` where all that it keeps would be deleted with the temporary folder that it runs in.
    """
    from tasks.runtime.errors import DependencyError
    from tasks.runtime.home import configure

    here = Path.cwd()
    # So Prefect names the folder (prefect/workers/process.py).
    temporary = here.name.endswith("prefect") and here.parent == Path(tempfile.gettempdir()).resolve()
    if temporary and not os.environ.get("HEADSTART_HOME"):
        raise DependencyError(
            "Expected HEADSTART_HOME in the environment of the worker, found none: its runs would keep models and "
            f"features in {here}, which is deleted after each. Set it where the worker is started."
        )
    configure()
    from prefect.context import refresh_global_settings_context

    refresh_global_settings_context()


class _Interface(ModuleType):
    """The package: its names are the flows, imported when they are asked for, not the files of the same names."""

    def __getattr__(self, name: str) -> Any:
        if name not in FILES:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        from tasks.runtime.home import configure

        configure()
        found = getattr(import_module(f"{self.__name__}.{FILES[name]}"), name)
        super().__setattr__(name, found)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        # Python sets a file that is imported as an attribute of its package.
        if not (name in FILES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Interface
if "PREFECT__FLOW_RUN_ID" in os.environ:
    _of_a_worker()
