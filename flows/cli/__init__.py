"""The command `headstart`."""


def main() -> None:
    """Entry point of the command."""
    from flows.cli.app import main as run

    run()
