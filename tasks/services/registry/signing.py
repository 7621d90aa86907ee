"""Signatures of versions, in OpenSSF's format (https://github.com/sigstore/model-transparency).

A seal finds changed files, but who may edit the registry can change files and seal together. A signature is made with a
key that neither the registry nor the artifact store has. It covers every file of a version and the name of its model,
which `MLmodel` holds. It does not say which of the signed versions is the newest, or the champion.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.runtime.errors import DataError, DependencyError
from tasks.runtime.home import expanded
from tasks.serving.golden import SIGNATURE

if TYPE_CHECKING:
    from mlflow.models import Model

#: Environment variables: the path of a private key, and the paths of public keys, with a colon between them.
SIGN, VERIFY = "HEADSTART_SIGNING_KEY", "HEADSTART_VERIFY_KEY"
#: What MLflow adds to a version that it downloads.
ADDED = "registered_model_meta"
#: In `MLmodel`, the name of the model that a version was signed for.
NAME = "model"
#: Between the name of an environment and that of a model, in the name of a copy.
ENVIRONMENT = "."
CURVES = ("secp256r1", "secp384r1", "secp521r1")


def check_keys(name: str) -> None:
    """Raise `DependencyError` unless the keys that the environment names can be used for a model of this name.

    Where signatures are wanted, a key to sign with is needed as well: a version without a signature would be of no use.
    """
    private, public = keys()
    if private and ENVIRONMENT in name:
        raise DependencyError(
            f"{SIGN}: expected a recipe whose name has no {ENVIRONMENT!r}, found {name}: a signature of "
            f"{name.partition(ENVIRONMENT)[2]} would be taken for one of {name}, as for that of an environment. "
            "Choose another name."
        )
    if public and not private:
        raise DependencyError(
            f"{SIGN}: expected the path of a private key, as {VERIFY} is set: a version that is not signed would be "
            "refused. Set both, or neither."
        )


def keys() -> tuple[Path | None, list[Path]]:
    """The private key, if any, and the public ones. Raises `DependencyError` for one that cannot be used."""
    return _private(), _public()


def wanted() -> bool:
    """Whether versions must be signed to be used here."""
    return bool(os.environ.get(VERIFY))


def sign(folder: Path) -> Path | None:
    """Write the signature of a version's files into their folder, if there is a key; returns its path."""
    key = _private()
    if key is None:
        return None
    from model_signing import signing

    made = folder / SIGNATURE
    signing.Config().set_hashing_config(_hashing(folder)).use_elliptic_key_signer(private_key=key).sign(folder, made)
    return made


def check(folder: Path, name: str, version: str) -> None:
    """Raise `DataError` if signatures are wanted, and the files in a folder have none for this model.

    `version` is for the message, "" for one that is not registered yet. Nothing in the folder is run.
    """
    public = _public()
    if public and (wrong := _wrong(folder, name, public)):
        raise DataError(
            f"Expected {name}{version and f' version {version}'} to be signed with a key of {VERIFY}, found {wrong}. "
            f"Do not use it: take another version (headstart models {name} lists them). mlflow/README.md says how "
            "signatures are introduced."
        )


def _wrong(folder: Path, name: str, public: list[Path]) -> str:
    """What is wrong with the signature, "" for nothing."""
    from mlflow.models import Model
    from model_signing import verifying

    signature = folder / SIGNATURE
    if not signature.is_file():
        return "no signature"
    for key in public:
        config = verifying.Config().set_hashing_config(_hashing(folder)).use_elliptic_key_verifier(public_key=key)
        try:
            config.verify(folder, signature)
        except Exception as error:  # of a forged one its parser may raise any
            if str(error).startswith("Signature mismatch"):
                return "other files than the signed ones"
        else:
            other = _named(Model.load(str(folder)))
            if other and other in (name, name.partition(ENVIRONMENT)[2]):
                return ""
            return f"the signature of {other or 'a model without a name'}"
    return "a signature of none of these keys"


def _named(model: Model) -> str:
    return str((model.metadata or {}).get(NAME, ""))


def _hashing(folder: Path) -> Any:
    """Every file counts, but the signature and what MLflow adds."""
    from model_signing import hashing

    ignored = [folder / SIGNATURE, folder / ADDED]
    return hashing.Config().set_ignored_paths(paths=ignored, ignore_git_paths=False)


def _private() -> Path | None:
    if not (name := os.environ.get(SIGN, "")):
        return None
    from cryptography.hazmat.primitives.asymmetric import ec

    path = expanded(name)
    _check(SIGN, path, ec.EllipticCurvePrivateKey)
    if path.stat().st_mode & 0o007:
        raise DependencyError(f"{SIGN}: expected a key that others cannot read, found {path}: chmod 600 {path}")
    return path


def _public() -> list[Path]:
    named = [expanded(name) for name in os.environ.get(VERIFY, "").split(os.pathsep) if name]
    if named:
        from cryptography.hazmat.primitives.asymmetric import ec

        for path in named:
            _check(VERIFY, path, ec.EllipticCurvePublicKey)
    return named


def _check(variable: str, path: Path, wanted: type) -> None:
    """Raise `DependencyError` unless a file holds a key of this kind; the message does not show what it holds."""
    from cryptography.hazmat.primitives import serialization

    kind = "private" if variable == SIGN else "public"
    expected = f"{variable}: expected a {kind} key of an elliptic curve ({', '.join(CURVES)}) in a PEM file, found"
    try:
        import model_signing  # noqa: F401 - said early

        data = path.read_bytes()
        if kind == "private":
            key: Any = serialization.load_pem_private_key(data, None)
        else:
            key = serialization.load_pem_public_key(data)
    except ImportError as error:
        raise DependencyError(f"{variable}: expected model-signing, found {error}: uv sync --extra signing") from None
    except OSError as error:
        raise DependencyError(f"{expected} no file {path} ({error.strerror}).") from None
    except TypeError:  # the library's, of an encrypted key
        raise DependencyError(f"{expected} one with a password in {path}.") from None
    except Exception:
        raise DependencyError(f"{expected} something else in {path}.") from None
    curve = getattr(getattr(key, "curve", None), "name", "")
    if not isinstance(key, wanted) or curve not in CURVES:
        raise DependencyError(f"{expected} a key of another kind in {path}. {curve}".strip())
