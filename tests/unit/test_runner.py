"""What is served until a signal says stop."""

import _thread
import threading

from flows.deployments import runner


def test_an_interrupt_asks_the_runs_under_way_to_end(monkeypatch):
    class Runner:
        def __init__(self):
            self.asked = False

        async def start(self):
            threading.Timer(0.2, _thread.interrupt_main).start()
            while not self.asked:
                await runner.asyncio.sleep(0.05)

        async def astop(self):
            self.asked = True

    made = Runner()
    monkeypatch.setattr(runner, "Runner", lambda: made)
    monkeypatch.setattr(runner, "ENDS", 1e6)
    runner.until_interrupted([], None, lambda name: None)
    assert made.asked
