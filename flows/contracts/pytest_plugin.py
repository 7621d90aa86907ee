"""A plugin of pytest: with `--headstart-plugins` it adds a test for each of others' plugins.

pytest loads this file in every environment that has headstart: it imports nothing heavy before it is asked.
"""

import tempfile
from pathlib import Path

import pytest

OPTION = "--headstart-plugins"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option, with or without a folder."""
    parser.addoption(
        OPTION,
        nargs="?",
        const="",
        default=None,
        metavar="FOLDER",
        help="check Headstart's plugins of a folder, or without FOLDER those of every installed package",
    )


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add a test for each plugin. Raises pytest's `UsageError` if there is none."""
    folder = config.getoption(OPTION)
    if folder is None:
        return
    from tasks.runtime import plugins
    from tasks.runtime.errors import UsageError

    try:
        plugins.use(str(Path(folder).absolute()) if folder else "")
        found = [(kind, name) for kind in plugins.KINDS for name in plugins.code(kind)]
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    if not found:
        raise pytest.UsageError(f"{OPTION}: expected a package with plugins of Headstart, found none installed.")
    items += [
        Contract.from_parent(session, name=f"headstart[{kind}-{name}]", plugin=(kind, name)) for kind, name in found
    ]


class Contract(pytest.Item):
    """The test of one plugin."""

    def __init__(self, *, plugin: tuple[str, str], **others: object) -> None:
        super().__init__(**others)  # type: ignore[arg-type]
        self.plugin = plugin

    def runtest(self) -> None:
        """Run the checks of its kind."""
        from flows.contracts import checks

        with tempfile.TemporaryDirectory() as folder:
            checks.run(*self.plugin, Path(folder))

    def reportinfo(self) -> tuple[Path, None, str]:
        """What pytest names it."""
        return self.path, None, self.name
