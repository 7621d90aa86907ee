"""Shows what backbones, heads and backends must do, a line and its figure each: about 25 minutes on 2 cores.

    uv run --no-sync python -m tests.acceptance.networks [NUMBER …]

PyTorch has to be installed (CONTRIBUTING.md says how) for lines 3 and 5.
"""

from tests.acceptance.shown import Shown, headstart, main, tests


def contract() -> Shown:
    """Every network of keras.applications and eleven KerasHub families pass."""
    return tests("tests/plugins/test_contracts.py", "tests/plugins/test_hub.py", "-k", "backbone or hub")


def tutorial() -> Shown:
    """VGG16's tutorial in under 6 minutes; the same head on ResNet50."""
    answer, seconds = headstart("train", "vgg16_tutorial")
    words = ("backbone.options.name=ResNet50", "backbone.weights=random", "name=resnet50_tutorial")
    other, more = headstart("train", "vgg16_tutorial", *(part for word in words for part in ("--set", word)))
    first, second = answer["metrics"]["accuracy"], other["metrics"]["accuracy"]
    figure = f"VGG16 {seconds:.0f} s, accuracy {first:.3f}; ResNet50, random weights, {more:.0f} s, {second:.3f}"
    return seconds < 360 and first > 0.9, figure


def parity() -> Shown:
    """PyTorch's resnet18 and vgg16 give the same features to 1e-4."""
    return tests("tests/plugins/test_torchvision.py")


def hostile() -> Shown:
    """Files that hold code are refused and write nothing."""
    return tests(
        "tests/plugins/test_weights.py",
        "tests/plugins/test_applications.py",
        "tests/plugins/test_file.py",
        "-k",
        "code_in",
    )


def backends() -> Shown:
    """ELPV, head only, on PyTorch within 0.5 points of TensorFlow."""
    found = {
        name: headstart("train", "elpv", "--set", f"backend={name}", "--set", "fine_tune.enabled=false")[0]
        for name in ("tensorflow", "torch")
    }
    accuracies = {name: answer["metrics"]["accuracy"] for name, answer in found.items()}
    return abs(accuracies["tensorflow"] - accuracies["torch"]) <= 0.005, str(accuracies)


def listing() -> Shown:
    """`headstart backbones` in under 2 s."""
    rows, seconds = headstart("backbones")
    return seconds < 2 and len(rows) > 40, f"{len(rows)} networks in {seconds:.2f} s"


if __name__ == "__main__":
    main([contract, tutorial, parity, hostile, backends, listing])
