"""A training that is killed goes on from its last finished epoch, and ends as one that nobody disturbed."""

import io
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasks import progress
from tasks.training import fit, resume

PLAN = fit.Plan(epochs=6, patience=9, learning_rate=0.02, weight_decay=0.01, batch_size=16, seed=3)
#: Every epoch is written.
EAGER = (0.0, np.inf)
#: Each training, and the epoch, from 0, in which it is killed.
CASES = {
    "shuffled": 3,
    "sampled": 3,
    "waiting": 3,
    "averaged": 4,
    "averaged to the end": 3,
    "layer-wise": 3,
    "jittered": 2,
}


def _training(case, address="", on_epoch=lambda epoch, losses: None):
    """The training of this name from its beginning, or from where a killed one has left it: its network and losses."""
    fit.seed_everything(1)
    random = np.random.default_rng(0)
    labels = random.choice(3, 90, p=(0.6, 0.3, 0.1))
    images = (random.normal(110, 30, (90, 8, 8, 3)) + 9 * labels[:, None, None, None]).clip(0, 255).astype("float32")
    rows = fit.Batches(lambda positions: images[positions], labels)
    network, plan, train, validation = _network(), PLAN, rows, rows
    if case == "sampled":
        plan = replace(plan, loss=fit.Loss(balance="sampling", label_smoothing=0.1), warm_up=0.2, clip_norm=1.0)
    if case == "waiting":
        # Of labels turned round the loss rises from the first epoch on; with these patience ends before the epochs.
        plan, validation = replace(plan, patience=4, epochs=9), replace(rows, labels=2 - labels)
    if case.startswith("averaged"):
        plan = replace(plan, ema=0.9, cosine=True)
    if case == "averaged to the end":
        validation = None
    if case == "layer-wise":
        shares = {v.path: 0.1 if "conv" in v.path else 1.0 for v in network.trainable_variables}
        plan = replace(plan, ema=0.9, shares=shares)
    if case == "jittered":
        train = fit.jittered(rows, ("identity", "flip_left_right", "rotate_90"), 0.2, seed=5)
    return network, fit.fit(network, train, validation, plan, on_epoch, address=address)


def _network():
    """With dropout, whose random numbers are the network's own, and statistics that move."""
    import keras

    x = pixels = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 255)(x)
    x = keras.layers.Conv2D(4, 3, name="conv")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    x = keras.layers.Dropout(0.3)(keras.layers.Dense(16, "relu", name="hidden")(x))
    return keras.Model(pixels, keras.layers.Dense(3, name="logits")(x))


def _killed(cases):
    """Trainings that SIGKILL ends in the epoch that is told, each in a process of its own.

    To be called in a process that has imported TensorFlow and not used it: it is forked.
    """
    import tensorflow  # noqa: F401

    resume.SECONDS, resume.SHARE = EAGER
    for case, last in cases.items():
        child = os.fork()
        if not child:
            _training(
                case, case, lambda epoch, losses, last=last: epoch == last and os.kill(os.getpid(), signal.SIGKILL)
            )
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, case


def _values(network):
    """All variables bit for bit, states of random generators among them."""
    return [np.asarray(variable).tobytes() for variable in network.variables]


@pytest.fixture(scope="module")
def killed(home):
    """What killed trainings have left in the home folder: a file each, under the names of the cases."""
    done = subprocess.run(
        [sys.executable, "-c", f"import test_resume; test_resume._killed({CASES})"],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return home / "store" / "epochs"


@pytest.fixture
def eager(monkeypatch):
    """Every epoch is written."""
    monkeypatch.setattr(resume, "SECONDS", EAGER[0])
    monkeypatch.setattr(resume, "SHARE", EAGER[1])


@pytest.mark.parametrize("case", CASES)
def test_it_goes_on_where_it_was_killed_and_ends_as_an_undisturbed_one(killed, case):
    undisturbed, expected = _training(case)
    seen = []
    assert (killed / f"{case}.npz").exists()
    resumed, found = _training(case, case, lambda epoch, losses: seen.append(epoch))
    assert seen == list(range(CASES[case], expected.epochs))
    assert (found, found.best) == (expected, expected.best)
    assert _values(resumed) == _values(undisturbed)
