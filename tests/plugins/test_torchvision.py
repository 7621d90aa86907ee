"""torchvision's networks: the same numbers as in PyTorch, and a clear answer to weights that do not fit."""

import hashlib
import urllib.error
import urllib.request
from collections import OrderedDict

import helpers
import numpy as np
import pytest

from tasks.networks import files
from tasks.networks.backbones import torchvision
from tasks.runtime.errors import DependencyError, UsageError

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def resnet(torch, plan, basic):
    """torchvision's ResNet up to `layer4`, written after its documentation, with torchvision's names."""
    nn = torch.nn

    def convolution(inner, outer, kernel, stride):
        return nn.Conv2d(inner, outer, kernel, stride, kernel // 2, bias=False)

    class Block(nn.Module):
        def __init__(self, inner, channels, stride):
            super().__init__()
            outer = channels if basic else 4 * channels
            shapes = [(inner, channels, 3, stride), (channels, outer, 3, 1)]
            if not basic:
                shapes = [(inner, channels, 1, 1), (channels, channels, 3, stride), (channels, outer, 1, 1)]
            self.steps = len(shapes)
            for number, shape in enumerate(shapes, 1):
                self.add_module(f"conv{number}", convolution(*shape))
                self.add_module(f"bn{number}", nn.BatchNorm2d(shape[1]))
            if stride > 1 or inner != outer:
                self.downsample = nn.Sequential(convolution(inner, outer, 1, stride), nn.BatchNorm2d(outer))

        def forward(self, x):
            y = x
            for number in range(1, self.steps + 1):
                y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
                y = y.relu() if number < self.steps else y
            return (y + (self.downsample(x) if hasattr(self, "downsample") else x)).relu()

    parts = OrderedDict(conv1=convolution(3, 64, 7, 2), bn1=nn.BatchNorm2d(64), relu=nn.ReLU())
    parts["maxpool"], inner = nn.MaxPool2d(3, 2, 1), 64
    for stage, repeats in enumerate(plan):
        blocks = []
        for number in range(repeats):
            blocks.append(Block(inner, 64 * 2**stage, 2 if stage and not number else 1))
            inner = 64 * 2**stage * (1 if basic else 4)
        parts[f"layer{stage + 1}"] = nn.Sequential(*blocks)
    return nn.Sequential(parts)


def vgg(torch, plan):
    """torchvision's VGG up to the last pool."""
    nn, layers, inner = torch.nn, [], 3
    for repeats, channels in zip(plan, (64, 128, 256, 512, 512), strict=True):
        for _ in range(repeats):
            layers += [nn.Conv2d(inner, channels, 3, padding=1), nn.ReLU()]
            inner = channels
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(OrderedDict(features=nn.Sequential(*layers)))


NETWORKS = {
    "resnet18": lambda torch: resnet(torch, (2, 2, 2, 2), basic=True),
    "resnet50": lambda torch: resnet(torch, (3, 4, 6, 3), basic=False),
    "vgg16": lambda torch: vgg(torch, (2, 2, 3, 3, 3)),
}


def randomised(torch, network):
    """Random weights that keep signals at about 1, and statistics as after training."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, torch.nn.BatchNorm2d):
            for name, low, high in (("weight", 0.2, 0.8), ("bias", -0.5, 0.5), ("running_mean", -0.5, 0.5)):
                torch.nn.init.uniform_(getattr(module, name), low, high)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()


@pytest.mark.parametrize(("zipped", "size"), [(True, 64), (False, 75)])
@pytest.mark.parametrize("variant", NETWORKS)
def test_feature_maps_are_those_of_pytorch(torch, tmp_path, variant, zipped, size):
    reference = randomised(torch, NETWORKS[variant](torch))
    saved = reference.state_dict() | {"fc.weight": torch.zeros(10, 3), "classifier.0.bias": torch.zeros(10)}
    torch.save(saved, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    built = torchvision.build(size, str(tmp_path / "x.pth"), variant=variant)
    pixels = np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype("float32")
    with torch.inference_mode():
        normalised = ((pixels / 255 - MEAN) / DEVIATION).transpose(0, 3, 1, 2).astype("float32")
        expected = reference(torch.from_numpy(normalised)).numpy().transpose(0, 2, 3, 1)
    found = built.model.predict(pixels, verbose=0)
    assert found.shape == expected.shape
    assert expected.std() > 0.01
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.fixture(scope="module")
def trained():
    """A VGG11 whose weights are not those that `random` gives, and PyTorch's entries of it."""
    model, _ = torchvision.network("vgg11", 32)
    model.set_weights([np.float32(0.5) * w + np.float32(0.01) for w in model.get_weights()])
    entries = {}
    for layer in model.layers:
        for part, weight in zip(("weight", "bias"), layer.get_weights(), strict=False):
            entries[f"{layer.name.replace('_', '.')}.{part}"] = (
                weight.transpose((3, 2, 0, 1)) if weight.ndim == 4 else weight
            )
    return model, entries


def saved(entries):
    """The entries as a file of torch.save."""
    arrays = {name: np.ascontiguousarray(array) for name, array in entries.items()}
    tensors = {
        name: helpers.Saved(array.shape, tuple(s // array.itemsize for s in array.strides), key=name)
        for name, array in arrays.items()
    }
    return helpers.zipped(tensors, arrays)


def same(model, other):
    return all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True))


def test_published_weights_are_taken_from_the_home_folder(monkeypatch, tmp_path, trained):
    model, entries = trained
    data = saved(entries)
    sha256 = hashlib.sha256(data).hexdigest()[:8]
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path))
    monkeypatch.setitem(torchvision.FILES, "vgg11", (0, sha256))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / f"vgg11-{sha256}.pth").write_bytes(data)
    assert same(torchvision.build(32, "imagenet", variant="vgg11").model, model)
    assert torchvision.weights_digest("imagenet", {"variant": "vgg11"}) == sha256


def test_without_a_network_the_file_to_get_is_named(monkeypatch, tmp_path):
    def urlopen(*args, **options):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    with pytest.raises(DependencyError, match=r"https://download\.pytorch\.org/models/resnet18-f37072fd\.pth"):
        torchvision.build(32, "imagenet", variant="resnet18")
    assert torchvision.weights_digest("imagenet", {"variant": "resnet18"}) == "f37072fd"


def test_own_weights_come_back_and_the_network_survives_saving(tmp_path, trained):
    model, _ = trained
    model.save_weights(tmp_path / "own.weights.h5")
    built = torchvision.build(32, str(tmp_path / "own.weights.h5"), variant="vgg11").model
    assert same(built, model)
    files.save(built, tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype("float32")
    again = files.load(tmp_path / "network.keras").predict(pixels, verbose=0)
    np.testing.assert_array_equal(again, model.predict(pixels, verbose=0))


def test_weights_that_do_not_fit_are_refused_with_the_entry_that_does_not(tmp_path, trained):
    path, (_, entries) = tmp_path / "x.pth", trained
    for change, words in (
        ({"features.3.bias": None}, r"features\.3\.bias: expected the shape \(128,\), found none"),
        (
            {"features.0.weight": np.zeros((64, 1, 3, 3), "f4")},
            r"features\.0\.weight: .*\(64, 3, 3, 3\), found \(64, 1,",
        ),
        ({"features.0.weight": np.zeros(3, "f4")}, r"features\.0\.weight: .*found \(3,\)"),
    ):
        path.write_bytes(saved({name: array for name, array in (entries | change).items() if array is not None}))
        with pytest.raises(DependencyError, match=rf"x\.pth: expected the weights of vgg11, found others: {words}"):
            torchvision.build(32, str(path), variant="vgg11")
    with pytest.raises(UsageError, match=r"a name that the backbone defines.*found 'packaged'"):
        torchvision.build(32, "packaged")


@pytest.mark.parametrize("form", [helpers.legacy, helpers.zipped])
def test_code_in_a_weights_file_is_refused_and_not_run(tmp_path, form):
    (tmp_path / "evil.pth").write_bytes(form(OrderedDict({"conv1.weight": helpers.Evil(tmp_path / "planted")})))
    with pytest.raises(DependencyError, match=r"evil\.pth: .* refused: it asks for"):
        torchvision.build(32, str(tmp_path / "evil.pth"))
    assert not (tmp_path / "planted").exists()
