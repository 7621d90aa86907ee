"""An interrupt that a library has turned into an error of its own."""

import signal

import pytest
import typer
from prefect.exceptions import TerminationSignal

from flows.cli.session import session
from tasks.runtime.errors import DataError


@pytest.mark.parametrize("kind", [ValueError, DataError])
@pytest.mark.parametrize("sent", [KeyboardInterrupt(), TerminationSignal(signal.SIGTERM)])
def test_an_error_that_an_interrupt_led_to_is_an_interrupt(home, capsys, kind, sent):
    with pytest.raises(typer.Exit) as ended, session("check", home):
        try:
            raise sent
        except BaseException:
            raise kind("Task run is not set")  # noqa: B904 - as in Prefect's engine of tasks
    assert ended.value.exit_code == 130
    assert "Interrupted" in capsys.readouterr().err
