"""Engines: the choice between them, and work that is done ahead but not too far."""

import json
import threading
import time

import numpy as np
import pytest
from trouble.damage import cut, flip

from tasks.networks import backend, engines
from tasks.runtime import plugins, processes
from tasks.runtime.errors import DependencyError


def _model():
    import keras

    backend.seed(0)
    pixels = keras.Input((16, 16, 3))
    return keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(pixels)))


def test_auto_takes_openvino_where_it_agrees_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(processes.shutil, "which", lambda name: None)
    engine = engines.start("auto", _model, tmp_path, 16)
    assert engine.name == "openvino"
    assert "differs from TensorFlow by" in engine.reason
    cut(tmp_path / "agreement.json")
    assert engines.start("auto", _model, tmp_path, 16).name == "openvino"
    # Another start builds nothing: no Keras, no weights.
    again = engines.start("auto", lambda: pytest.fail("built again"), tmp_path, 16)
    assert again.name == "openvino"


@pytest.mark.parametrize("name", ["model.bin", "model.xml", "checksums.json"])
def test_a_damaged_export_is_made_again(tmp_path, name):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), "uint8")
    (first,) = plugins.entry("engines", "openvino")(_model, tmp_path).run([pixels])
    flip(tmp_path / name)
    (again,) = plugins.entry("engines", "openvino")(_model, tmp_path).run([pixels])
    np.testing.assert_array_equal(again, first)


def test_auto_takes_tensorflow_where_openvino_disagrees(tmp_path, monkeypatch):
    monkeypatch.setattr(processes.shutil, "which", lambda name: None)
    (tmp_path / "agreement.json").write_text(json.dumps({"relative_error": 0.01}))
    engine = engines.start("auto", _model, tmp_path, 16)
    assert engine.name == "tensorflow"
    assert engine.reason.startswith("auto: OpenVINO differs from TensorFlow by 1.0e-02")


def test_auto_takes_tensorflow_whatever_openvino_raises(tmp_path, monkeypatch):
    import openvino

    def broken(*args, **options):
        raise NameError("name 'tensorflow' is not defined")

    monkeypatch.setattr(processes.shutil, "which", lambda name: None)
    with monkeypatch.context() as converter:
        converter.setattr("keras.Model.export", broken)
        engine = engines.start("auto", _model, tmp_path, 16)
        assert engine.name == "tensorflow"
        assert "OpenVINO failed with DependencyError: Expected OpenVINO to convert" in engine.reason
        assert next(engine.run([np.zeros((2, 16, 16, 3), "uint8")])).shape == (2, 4)
        with pytest.raises(DependencyError, match=r"found NameError.*Set extract.engine to 'tensorflow'"):
            engines.start("openvino", _model, tmp_path, 16)
        assert not list(tmp_path.glob("*.xml")) + list(tmp_path.glob(".*"))
    # An agreement that is remembered does not hide that it fails today.
    assert engines.start("auto", _model, tmp_path, 16).name == "openvino"
    monkeypatch.setattr(openvino, "Core", broken)
    engine = engines.start("auto", _model, tmp_path, 16)
    assert engine.name == "tensorflow"
    assert "NameError: name 'tensorflow' is not defined" in engine.reason


def test_auto_takes_tensorflow_on_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(processes.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert engines.start("auto", _model, tmp_path, 16).name == "tensorflow"


def test_openvino_keeps_the_order_of_many_batches(tmp_path):
    run = plugins.entry("engines", "openvino")(_model, tmp_path).run
    batches = [np.full((n % 5 + 1, 16, 16, 3), n, "uint8") for n in range(40)]
    alone = [next(run([batch])) for batch in batches]
    for together, single in zip(run(iter(batches)), alone, strict=True):
        np.testing.assert_array_equal(together, single)


def test_work_ahead_is_bounded_in_order_and_its_errors_arrive():
    made = []

    def items():
        for n in range(20):
            made.append(n)
            yield n

    stream = engines.ahead(items(), depth=3)
    assert next(stream) == 0
    time.sleep(0.5)
    assert len(made) <= 6
    assert list(stream) == list(range(1, 20))

    def broken():
        yield 1
        raise ValueError("no more")

    stream = engines.ahead(broken())
    assert next(stream) == 1
    with pytest.raises(ValueError, match="no more"):
        next(stream)


def test_work_ahead_ends_when_nobody_takes_it():
    stream = engines.ahead(iter(range(1000)), depth=2)
    next(stream)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "ahead"]
