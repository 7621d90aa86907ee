"""Who can write into the artifact store cannot have code run by those who use a version.

With keys in the environment, who may edit the registry as well cannot pass off other files.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import helpers
import pytest
import tiny_versions
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from documents import block

from tasks.runtime.errors import DataError, DependencyError
from tasks.services import tracking
from tasks.services.registry import predict, promotion, registered_models, registration, signing, verification, versions
from tasks.serving import golden


def _planted(folder, planted):
    """Make the version's script write a file when it is loaded."""
    (script,) = folder.glob("*.py")
    script.write_text(f"open({str(planted)!r}, 'w').close()\n{script.read_text()}")


@pytest.fixture
def photo(tmp_path):
    file = tmp_path / "photo.png"
    helpers.photo(helpers.COLOURS["red"], 1).save(file)
    return file


def test_a_script_that_was_changed_is_not_run_whoever_asks(server, tmp_path, photo):
    version = tiny_versions.register("tampered")
    planted = tmp_path / "planted"
    _planted(tiny_versions.files("tampered", version), planted)
    for ask in (
        lambda: predict.score("tampered", version, [photo.read_bytes()], tiny_versions.CLASSES),
        lambda: list(predict.answers(f"tampered/{version}", [photo])),
    ):
        with pytest.raises(DataError, match=r"as it was registered, found .*\.py: expected SHA-256"):
            ask()
    assert not planted.exists()


@pytest.mark.parametrize("what", ["script", "MLmodel", "one more"])
def test_what_changes_between_sending_and_sealing_is_neither_run_nor_registered(server, tmp_path, monkeypatch, what):
    planted, download = tmp_path / "planted", verification._files
    name = f"intercepted-{what}".replace(" ", "-")

    def intercepted(uri):
        logged = tracking.client().get_logged_model(uri.rpartition("/")[2])
        folder = helpers.Path(logged.artifact_location.removeprefix("file://"))
        if what == "script":
            _planted(folder, planted)
        elif what == "MLmodel":
            file = folder / "MLmodel"
            file.write_text(file.read_text().replace("loader_module: ", "loader_module: other."))
        else:
            (folder / "sitecustomize.py").write_text(json.dumps(str(planted)))
        return download(uri)

    monkeypatch.setattr(verification, "_files", intercepted)
    with pytest.raises(DataError, match="to come back from the artifact store as it was sent, found"):
        tiny_versions.register(name)
    assert not planted.exists()
    assert not registered_models.known(name)


def _pair(folder, name, key=None, mode=0o600):
    """Paths of a private and a public key."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    kind, pem = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
    private.write_bytes(key.private_bytes(pem, kind, serialization.NoEncryption()))
    private.chmod(mode)
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def keys(tmp_path, monkeypatch):
    """Ours, in the environment, and another pair."""
    ours, other = (_pair(tmp_path, name) for name in ("ours", "other"))
    monkeypatch.setenv(signing.SIGN, str(ours[0]))
    monkeypatch.setenv(signing.VERIFY, str(ours[1]))
    return ours, other


def _changed(name, version):
    """Change what the version answers, and cover it up."""
    (found,) = tiny_versions.files(name, version).rglob("network.json")
    found.write_text('{"weight": 4.0000001}')
    tiny_versions.sealed_again(name, version)


def test_files_and_seal_that_were_changed_together_are_refused_by_the_key_alone(server, keys, monkeypatch, tmp_path):
    version = tiny_versions.register("signed")
    assert versions.verify("signed", version)["signature_checked"]
    _changed("signed", version)
    for ask in (
        lambda: versions.verify("signed", version),
        lambda: predict.score("signed", version, [], tiny_versions.CLASSES),
        lambda: list(predict.answers(f"signed/{version}", [])),
        lambda: promotion.promote("signed", version, force=True),
    ):
        with pytest.raises(DataError, match=r"to be signed with a key of HEADSTART_VERIFY_KEY, found other files"):
            ask()
    # What the seal alone is worth.
    monkeypatch.delenv(signing.VERIFY)
    versions.verify("signed", version)


def test_a_version_without_a_signature_is_refused_where_one_is_wanted(server, keys, monkeypatch):
    monkeypatch.delenv(signing.SIGN)
    monkeypatch.delenv(signing.VERIFY)
    version = tiny_versions.register("unsigned")
    monkeypatch.setenv(signing.VERIFY, str(keys[0][1]))
    with pytest.raises(DataError, match="found no signature"):
        versions.verify("unsigned", version)
    with pytest.raises(DependencyError, match="HEADSTART_SIGNING_KEY: expected the path of a private key"):
        tiny_versions.register("never")
    assert not registered_models.known("never")


def test_another_key_is_refused_and_keys_can_be_changed_one_after_the_other(server, keys, monkeypatch):
    (_, ours), (new, others) = keys
    version = tiny_versions.register("rotated")
    monkeypatch.setenv(signing.VERIFY, str(others))
    with pytest.raises(DataError, match="found a signature of none"):
        versions.verify("rotated", version)
    monkeypatch.setenv(signing.VERIFY, f"{others}:{ours}")
    versions.verify("rotated", version)
    monkeypatch.setenv(signing.SIGN, str(new))
    again = tiny_versions.register("rotated", 3.0)
    assert again != version
    monkeypatch.setenv(signing.VERIFY, str(others))
    versions.verify("rotated", again)


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_keys_of_the_document_sign_what_others_can_check(server, tmp_path, monkeypatch):
    def run(word):
        text = block("mlflow/README.md", word).replace("uv run --extra signing ", f"{Path(sys.executable).parent}/")
        return subprocess.run(["bash", "-ec", text], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run("openssl").returncode == 0
    monkeypatch.setenv(signing.SIGN, str(tmp_path / "signing.pem"))
    monkeypatch.setenv(signing.VERIFY, str(tmp_path / "verify.pem"))
    version = tiny_versions.register("shown")
    shutil.copytree(tiny_versions.files("shown", version), tmp_path / "pets-3")
    assert run("model_signing").returncode == 0
    next((tmp_path / "pets-3").glob("*.py")).write_text("changed")
    assert run("model_signing").returncode != 0


@pytest.mark.parametrize("what", ["signature", "everything"])
def test_what_was_signed_for_another_model_is_refused(server, keys, what):
    one, other = tiny_versions.register(f"one-{what}"), tiny_versions.register(f"other-{what}", 5.0)
    there, here = tiny_versions.files(f"one-{what}", one), tiny_versions.files(f"other-{what}", other)
    if what == "signature":
        shutil.copy(there / "model.sig", here)
    else:
        shutil.rmtree(here)
        shutil.copytree(there, here)
        seal = versions.seal(f"one-{what}", one)
        tracking.client().set_model_version_tag(f"other-{what}", other, versions.FINGERPRINT, seal)
    found = {"signature": "other files than the signed ones", "everything": "the signature of one-everything"}[what]
    with pytest.raises(DataError, match=found):
        versions.verify(f"other-{what}", other)


def test_a_key_that_cannot_be_used_is_refused_before_anything_is_sent(tmp_path, monkeypatch):
    private, public = _pair(tmp_path, "ours")
    loose, _ = _pair(tmp_path, "loose", mode=0o644)
    rsas, _ = _pair(tmp_path, "rsa", rsa.generate_private_key(65537, 2048))
    odd, _ = _pair(tmp_path, "odd", ec.generate_private_key(ec.SECP256K1()))
    locked = tmp_path / "locked.pem"
    pem, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key = ec.generate_private_key(ec.SECP256R1())
    locked.write_bytes(key.private_bytes(pem, kind, serialization.BestAvailableEncryption(b"secret")))
    for variable, path, message in (
        (signing.SIGN, tmp_path / "absent.pem", "found no file .*absent.pem"),
        (signing.SIGN, public, "expected a private key .* found something else"),
        (signing.SIGN, loose, "a key that others cannot read.*chmod 600"),
        (signing.SIGN, rsas, "a key of another kind"),
        (signing.SIGN, odd, "a key of another kind.*secp256k1"),
        (signing.SIGN, locked, "one with a password"),
        (signing.VERIFY, private, "expected a public key .* found something else"),
        (signing.VERIFY, f"{public}:{tmp_path}", "found no file"),
    ):
        with monkeypatch.context() as environment:
            environment.setenv(variable, str(path))
            with pytest.raises(DependencyError, match=f"{variable}: {message}|{variable}: .*{message}") as refused:
                signing.check_keys("pets")
        assert "BEGIN" not in str(refused.value)


def test_a_signature_holds_for_the_copy_in_an_environment_and_for_no_model_that_is_only_named_so(server, keys):
    version = tracking.client().get_model_version("signed-copy", tiny_versions.register("signed-copy"))
    for name in ("prod.signed-copy", "prod.other"):
        registered_models.create(name)
    registration.copy(version, "prod.signed-copy", {})
    assert versions.verify("prod.signed-copy", "1")["signature_checked"]
    registration.copy(version, "prod.other", {})
    with pytest.raises(DataError, match="the signature of signed-copy"):
        versions.verify("prod.other", "1")
    with pytest.raises(DependencyError, match=r"a recipe whose name has no '.', found prod.signed-copy"):
        tiny_versions.register("prod.signed-copy")


@pytest.mark.parametrize("text", [b"\xff", b"3", b"[[1]]", b"[" * 100_000])
def test_a_manifest_that_is_none_is_told(tmp_path, text):
    (tmp_path / golden.MANIFEST).write_bytes(text)
    assert golden.broken(tmp_path, hashlib.sha256(text).hexdigest()) == ["manifest.json is no list of files"]
