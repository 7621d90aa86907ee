"""What Python imports and Prefect reads is never a file of the working folder.

Prefect takes settings from `.env`, `prefect.toml` and `pyproject.toml` of the folder that a command happens to run in,
and a configuration of logging that they name runs code (https://docs.prefect.io/v3/concepts/settings-and-profiles).
Alembic, which upgrades its database, puts that folder on Python's path, and Prefect does where it loads a flow by the
name of its module: a folder `flows` there would be taken for ours. None has a switch for it, and Prefect starts servers
and runs by itself: `home.configure` puts this file on their `PYTHONPATH`, and Python loads it first. So it
imports nothing of the project, and nothing heavy.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any


class _Finder:
    """Finds the modules of `CHANGES` as ever, and changes them once they are loaded."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        found = PathFinder.find_spec(name, path, target) if name in CHANGES else None
        if found and found.loader:
            load: Any = found.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                load(module)
                CHANGES[name](module)

            vars(found.loader)["exec_module"] = exec_module
        return found


def ignore_the_working_folder() -> None:
    """Must run before Prefect is imported; a second call changes nothing."""
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


def _settings(base: Any) -> None:
    build = base.build_settings_config

    def config(*arguments: Any, **options: Any) -> dict[str, Any]:
        return build(*arguments, **options) | {"env_file": None, "toml_file": None}

    base.build_settings_config = base._build_settings_config = config
    # The name of this file is written in its code.
    base.PyprojectTomlConfigSettingsSource._read_files = lambda *_: {}


def _migrations(config: Any) -> None:
    config.Config.get_prepend_sys_paths_list = lambda _: None


def _modules(tools: Any) -> None:
    of_the_folder = tools.load_module

    def load_module(name: str) -> ModuleType:
        try:
            return import_module(name)
        except ModuleNotFoundError:  # a person's own flow may lie there
            return of_the_folder(name)

    tools.load_module = load_module


CHANGES: dict[str, Callable[[Any], None]] = {
    "prefect.settings.base": _settings,
    "prefect.utilities.importtools": _modules,
    "alembic.config": _migrations,
}


def _next() -> None:
    """Load the file of this name that the machine has: Python has found this one instead."""
    here = Path(__file__).resolve().parent
    spec = PathFinder.find_spec("sitecustomize", [path for path in sys.path if Path(path).resolve() != here])
    if spec and spec.loader:
        spec.loader.exec_module(module_from_spec(spec))


if __name__ == "sitecustomize":
    ignore_the_working_folder()
    _next()
