"""Commands that list what a recipe can name: backbones, heads, sources, gates, engines, settings, licences."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import output
from flows.cli.arguments import Home, Json
from flows.cli.session import session

Folder = Annotated[
    Path | None, typer.Option("--plugins", help="A folder with plugins of your own, as `plugins` of a recipe names it")
]


def backbones(folder: Folder = None, home: Home = None, as_json: Json = False) -> None:
    """Pretrained networks, and whether their weights are on this machine."""
    with session("backbones", home) as s:
        from tasks.runtime import plugins

        _use(folder)
        found = [
            {
                "backbone": name,
                "options": ", ".join(f"{key}={value}" for key, value in choice.options.items()),
                "parameters": f"{choice.parameters / 1e6:.1f} M" if choice.parameters else "any",
                "pixels": choice.size or "any",
                "weights": choice.weights,
            }
            for name in plugins.names("backbones")
            for choice in plugins.load("backbones", name).choices()
        ]
        s.show(found, as_json, lambda: output.listed(s, "Backbones", found))


def heads(folder: Folder = None, home: Home = None, as_json: Json = False) -> None:
    """New last layers."""
    _plugins("heads", folder, home, as_json)


def sources(folder: Folder = None, home: Home = None, as_json: Json = False) -> None:
    """Where photos can come from."""
    _plugins("sources", folder, home, as_json)


def gates(folder: Folder = None, home: Home = None, as_json: Json = False) -> None:
    """Conditions that a recipe can require a model to meet."""
    _plugins("gates", folder, home, as_json)


def engines(folder: Folder = None, home: Home = None, as_json: Json = False) -> None:
    """Ways to run a frozen network."""
    _plugins("engines", folder, home, as_json)


def settings(
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="A Markdown file whose table of settings is rewritten")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Every setting of a recipe, with its default."""
    with session("settings", home) as s:
        from tasks.runtime.errors import UsageError
        from tasks.runtime.store.writing import replacing
        from tasks.settings import writing

        found = writing.rows()
        if markdown:
            try:
                text = writing.written_into(markdown.read_text(encoding="utf-8"))
            except OSError as error:
                raise UsageError(f"--markdown: expected a Markdown file at {markdown}, {error.strerror}.") from None
            except ValueError as error:
                raise UsageError(f"--markdown {markdown}: {error}.") from None
            with replacing(markdown) as working:
                working.write_text(text, encoding="utf-8")
        s.show(found, as_json, lambda: output.listed(s, "Settings", found))


def licences(home: Home = None, as_json: Json = False) -> None:
    """The licence of every installed package, as it states it."""
    with session("licences", home) as s:
        from tasks.services import packages

        found = packages.licences()
        s.show(found, as_json, lambda: output.listed(s, "Licences", found))


def schema(home: Home = None) -> None:
    """Print the JSON schema of recipes, for editors that complete and check TOML files."""
    with session("schema", home) as s:
        from tasks.settings import writing

        print(writing.schema(), file=s.out)


def _use(folder: Path | None) -> None:
    from tasks.runtime import plugins
    from tasks.runtime.home import expanded

    plugins.use(str(expanded(str(folder)).absolute()) if folder else "")


def _plugins(kind: str, folder: Path | None, home: Path | None, as_json: bool) -> None:
    with session(kind, home) as s:
        from tasks.runtime import plugins

        _use(folder)
        found = plugins.describe(kind)
        s.show(found, as_json, lambda: output.listed(s, kind.capitalize(), found))
