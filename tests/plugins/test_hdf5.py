"""What an HDF5 file of weights may not do: read other files, and take more memory than its own size lets expect."""

import zipfile

import h5py
import numpy as np
import pytest

from tasks.networks.backbones import applications, file
from tasks.networks.weights import hdf5
from tasks.runtime.errors import DependencyError

SECRET = np.arange(64, dtype="<f4")


def _external(group, secret):
    group.create_dataset("w", (64,), "<f4", external=[(str(secret), 0, SECRET.nbytes)])


def _virtual(group, secret):
    layout = h5py.VirtualLayout((64,), "<f4")
    layout[:] = h5py.VirtualSource(str(secret) + ".h5", "w", (64,))
    group.create_virtual_dataset("w", layout)


def _link(group, secret):
    group["w"] = h5py.ExternalLink(str(secret) + ".h5", "w")


def _soft(group, secret):
    group["w"] = h5py.SoftLink("/elsewhere")


def _large(group, secret):
    group.create_dataset("w", (1_200_000_000,), "<f4")


def _many(group, secret):
    for number in range(100):
        group.create_dataset(f"w{number}", (250_000,), "<f4")


def _code(group, secret):
    group.create_dataset("w", data=[b"x" * 100], dtype=h5py.special_dtype(vlen=bytes))
    group.create_dataset("v", (2_000_000,), dtype=h5py.special_dtype(vlen=bytes))


HOSTILE = (_external, _virtual, _link, _soft, _large, _many, _code)


@pytest.fixture(params=HOSTILE, ids=[each.__name__.strip("_") for each in HOSTILE])
def hostile(request, tmp_path):
    """A file of weights that asks for another file or for memory."""
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET.tobytes())
    with h5py.File(f"{secret}.h5", "w") as there:
        there["w"] = SECRET
    path = tmp_path / "evil.weights.h5"
    with h5py.File(path, "w") as made:
        request.param(made.create_group("layers/first"), secret)
    return path


def test_it_is_refused_wherever_weights_are_read(hostile, tmp_path):
    assert hostile.stat().st_size < 100_000
    with pytest.raises(ValueError, match=r"expected arrays in the file itself|expected numbers|bytes"):
        hdf5.check(hostile)
    with pytest.raises(DependencyError, match="expected the weights of"):
        applications.build(64, str(hostile), name="MobileNetV3Small")
    with zipfile.ZipFile(tmp_path / "evil.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.write(hostile, "model.weights.h5")
    with pytest.raises(DependencyError, match=r"evil\.keras: expected a network in a .keras or .h5 file, without code"):
        file.build(32, str(tmp_path / "evil.keras"))


def test_what_keras_writes_is_read_and_so_is_a_group_within_itself(tmp_path):
    with h5py.File(tmp_path / "plain.h5", "w") as made:
        group = made.create_group("layers")
        group["w"] = np.random.default_rng(0).normal(size=(100, 100))
        group["zeros"] = np.zeros(10)
        group["packed"] = made.create_dataset("packed", data=np.zeros((100, 100)), compression="gzip")
        group["again"] = group
    hdf5.check(tmp_path / "plain.h5")


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_lists_where_keras_reads_names_are_refused(tmp_path):
    """HDF5's library ends the process where a text is declared a list."""
    import h5py
    import keras

    keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(2, 3, name="conv")]).save(tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5", "r+") as made:
        names = np.empty(1, object)
        names[0] = np.arange(2, dtype="i4")
        made["model_weights/conv"].attrs.create("weight_names", names, dtype=h5py.vlen_dtype("i4"))
    with pytest.raises(DependencyError, match="it has lists beside its arrays: expected texts"):
        file.build(32, str(tmp_path / "net.h5"))
