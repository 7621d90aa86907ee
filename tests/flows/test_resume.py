"""A training that is killed goes on from its last finished epoch, and ends as one that nobody disturbed."""

import io
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import helpers
import numpy as np
import pytest
from rich.console import Console

from tasks import settings
from tasks.features.batches import Batches, jittered
from tasks.networks import files
from tasks.runtime import home as folder
from tasks.runtime import progress
from tasks.training import checkpoints, fit

PLAN = fit.Plan(epochs=6, patience=9, learning_rate=0.02, weight_decay=0.01, batch_size=16, seed=3)
#: Every epoch is written.
EAGER = (0.0, np.inf)
#: Each training, and the number of epochs after which it is killed.
CASES = {
    "shuffled": 3,
    "sampled": 3,
    "waiting": 3,
    "averaged": 4,
    "averaged to the end": 3,
    "layer-wise": 3,
    "jittered": 2,
}


def _training(case, address="", on_epoch=lambda history: None):
    """The training of this name from its beginning, or from where a killed one has left it: its network and losses."""
    fit.seed_everything(1)
    random = np.random.default_rng(0)
    labels = random.choice(3, 90, p=(0.6, 0.3, 0.1))
    images = (random.normal(110, 30, (90, 8, 8, 3)) + 9 * labels[:, None, None, None]).clip(0, 255).astype("float32")
    rows = Batches(lambda positions: images[positions], labels)
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
        train = jittered(rows, ("identity", "flip_left_right", "rotate_90"), 0.2, seed=5)
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
    """Trainings that SIGKILL ends after the epochs that are told, each in a process of its own.

    To be called in a process that has imported TensorFlow and not used it: it is forked.
    """
    import tensorflow  # noqa: F401

    checkpoints.SECONDS, checkpoints.SHARE = EAGER
    children = []
    for case, last in cases.items():
        children.append(os.fork())
        if not children[-1]:
            _training(case, case, lambda history, last=last: _end() if history.epochs == last else None)
            os._exit(1)
    ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert ends == [-signal.SIGKILL] * len(cases), ends


def _end():
    os.kill(os.getpid(), signal.SIGKILL)


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
        env=os.environ | {"PYTHONPATH": f"{helpers.HERE}{os.pathsep}{Path(__file__).parent}"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return home / "store" / "epochs"


@pytest.fixture
def eager(monkeypatch):
    """Every epoch is written."""
    monkeypatch.setattr(checkpoints, "SECONDS", EAGER[0])
    monkeypatch.setattr(checkpoints, "SHARE", EAGER[1])


@pytest.mark.parametrize("case", CASES)
def test_it_goes_on_where_it_was_killed_and_ends_as_an_undisturbed_one(killed, case):
    undisturbed, expected = _training(case)
    seen = []
    assert (killed / f"{case}.npz").exists()
    resumed, found = _training(case, case, lambda history: seen.append(history.epochs - 1))
    assert seen == list(range(CASES[case], expected.epochs))
    assert (found, found.best) == (expected, expected.best)
    assert _values(resumed) == _values(undisturbed)


def test_one_that_early_stopping_had_ended_is_only_read(eager):
    first, expected = _training("waiting", "ended")
    seen = []
    again, found = _training("waiting", "ended", lambda history: seen.append(history.epochs - 1))
    assert seen == []
    assert found == expected
    assert expected.epochs < 9
    assert [weights.tobytes() for weights in again.get_weights()] == [w.tobytes() for w in first.get_weights()]


def _cut(file):
    file.write_bytes(file.read_bytes()[:-300])


def _bit(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def _other_network(file):
    with np.load(file) as kept:
        arrays = dict(kept)
    np.savez(file, **arrays | {"value 2": arrays["value 2"][..., :1]})


def _pickle(file):
    np.savez(file, state=np.array([helpers.Evil(file.with_name("planted"))], object))


@pytest.mark.parametrize("harm", [_cut, _bit, _other_network, _pickle, lambda file: file.write_bytes(b"")])
def test_a_file_that_cannot_be_used_is_set_aside_and_training_begins_anew(eager, home, harm, monkeypatch):
    _, expected = _training("waiting", "harmed")
    file = home / "store" / "epochs" / "harmed.npz"
    harm(file)
    monkeypatch.setattr(progress, "console", Console(file=io.StringIO(), width=500))
    seen = []
    _, found = _training("waiting", "harmed", lambda history: seen.append(history.epochs - 1))
    assert seen == list(range(expected.epochs))
    assert found == expected
    said = progress.console.file.getvalue()
    assert said.startswith(f"Training starts again: the checkpoint {file.with_suffix('.damaged.npz')} cannot be used")
    assert {each.name for each in file.parent.glob("*harmed*")} == {"harmed.npz", "harmed.damaged.npz"}
    checkpoints.forget("harmed")
    assert not list(file.parent.glob("*harmed*"))
    assert not file.with_name("planted").exists()


def test_short_epochs_are_not_written_and_old_files_are_forgotten(home, monkeypatch):
    monkeypatch.setattr(checkpoints, "SECONDS", 1e9)
    old = home / "store" / "epochs" / "old.npz"
    old.parent.mkdir(parents=True, exist_ok=True)
    old.write_bytes(b"")
    os.utime(old, (0, 0))
    _training("shuffled", "short")
    assert not list(old.parent.glob("*short*"))
    assert not old.exists()


#: The first positions of two epochs, as published figures rest on them.
ORDERS = {
    "none": [[87, 38, 45, 12, 69, 41], [14, 53, 77, 88, 31, 15]],
    "sampling": [[17, 77, 87, 75, 11, 88], [81, 24, 4, 82, 62, 37]],
}


@pytest.mark.parametrize(("balance", "first"), ORDERS.items())
def test_the_order_of_an_epoch_is_the_same_wherever_training_began(balance, first):
    """What `fit` reads epoch by epoch, against an order from which the epochs before have been taken."""
    import keras

    labels, read = np.repeat([0, 1, 2], (50, 30, 10)), []

    def inputs(positions):
        read.append(positions)
        return np.zeros((len(positions), 1), "float32")

    fit.seed_everything(1)
    rows = Batches(inputs, labels)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(3)])
    fit.fit(model, rows, None, replace(PLAN, epochs=4, loss=fit.Loss(balance=balance)))
    epochs = np.concatenate(read)[1:].reshape(4, 90)  # the first was read for its shape
    assert epochs[:2, :6].tolist() == first
    for over in range(4):
        fit.seed_everything(1)
        read.clear()
        for _ in fit._dataset(rows, 16, PLAN.seed, balance, over):
            pass
        np.testing.assert_array_equal(np.concatenate(read)[1:], epochs[over])


#: The command, which is killed once fine-tuning has finished its second epoch.
KILLED = """
import os, signal
from tasks.training import checkpoints
checkpoints.SECONDS, checkpoints.SHARE = 0.0, float("inf")
add = checkpoints.Epochs.add
def killed(self, epoch, logs):
    add(self, epoch, logs)
    if epoch == 1 and any("conv" in variable.path for variable in self.variables):
        os.kill(os.getpid(), signal.SIGKILL)
checkpoints.Epochs.add = killed
from flows.cli.app import main
main()
"""


def test_a_run_that_was_killed_in_fine_tune_ends_as_one_that_was_not(server, home, tmp_path, monkeypatch):
    """The command in a process of its own, then the run that goes on, and one that fine-tunes from the beginning."""
    from prefect.settings import PREFECT_API_URL

    extra = '[split]\nsalt = "resume"\n[ladder]\nstart_at = "head"\n[audit]\nenabled = false'
    text = helpers.recipe(helpers.photos(tmp_path / "photos"), "resume", extra)
    (tmp_path / "r.toml").write_text(text.replace("epochs = 1\n", "epochs = 4\npatience = 4\n"))
    before = set((home / "store" / "epochs").glob("*"))
    command = [sys.executable, "-c", KILLED, "train", str(tmp_path / "r.toml"), "--home", str(home)]
    api = {"PREFECT_API_URL": PREFECT_API_URL.value()}  # a server of its own would outlive it
    done = subprocess.run(command, capture_output=True, text=True, env=helpers.outside() | api, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    (left,) = set((home / "store" / "epochs").glob("*")) - before
    recipe = settings.load(tmp_path / "r.toml")
    monkeypatch.setattr(progress, "console", Console(file=io.StringIO(), width=500))
    resumed, found = _tuned(recipe, monkeypatch)
    assert progress.console.file.getvalue().count("Training continues after epoch 2") == 1
    assert left.stem == resumed.digest
    assert set((home / "store" / "epochs").glob("*")) == before
    shutil.rmtree((home / resumed.path).parent)
    undisturbed, expected = _tuned(recipe, monkeypatch)
    assert progress.console.file.getvalue().count("Training continues") == 1
    assert found == expected
    untimed = [replace(each, training=replace(each.training, seconds=0)) for each in (resumed, undisturbed)]
    both = [replace(each, cost=replace(each.cost, milliseconds=0)) for each in untimed]
    assert both[0] == both[1]


def _tuned(recipe, monkeypatch):
    """What a run fine-tunes, and its network's variables; it ends after that."""
    from flows import train
    from flows.parts.rungs import Rungs

    def tuned(*args):
        raise _Enough(fine_tune(*args))

    fine_tune = Rungs.tuned
    with monkeypatch.context() as patched, pytest.raises(_Enough) as enough:
        patched.setattr(Rungs, "tuned", tuned)
        train(recipe)
    return enough.value.rung, _values(files.load(folder.home() / enough.value.rung.path))


class _Enough(Exception):
    def __init__(self, rung):
        super().__init__(rung)
        self.rung = rung
