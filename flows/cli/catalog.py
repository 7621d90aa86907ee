"""Commands that list what a recipe can name: backbones, heads, sources, gates, engines."""

from pathlib import Path

from flows.cli import output
from flows.cli.arguments import Home, Json
from flows.cli.session import session


def backbones(home: Home = None, as_json: Json = False) -> None:
    """Pretrained networks, and whether their weights are here."""
    with session("backbones", home) as s:
        from tasks.runtime import plugins

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


def heads(home: Home = None, as_json: Json = False) -> None:
    """New last layers."""
    _plugins("heads", home, as_json)


def sources(home: Home = None, as_json: Json = False) -> None:
    """Where photos can come from."""
    _plugins("sources", home, as_json)


def gates(home: Home = None, as_json: Json = False) -> None:
    """Conditions that a model can be asked to meet."""
    _plugins("gates", home, as_json)


def engines(home: Home = None, as_json: Json = False) -> None:
    """Ways to run a frozen network."""
    _plugins("engines", home, as_json)


def _plugins(kind: str, home: Path | None, as_json: bool) -> None:
    with session(kind, home) as s:
        from tasks.runtime import plugins

        found = plugins.describe(kind)
        s.show(found, as_json, lambda: output.listed(s, kind.capitalize(), found))
