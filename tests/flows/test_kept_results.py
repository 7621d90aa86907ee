"""What a run reads of the results that earlier runs have kept."""

import base64
import json
import os
import pickle
from pathlib import Path

import helpers
import pytest
from prefect.serializers import PickleSerializer

from flows.train import check
from tasks import settings
from tasks.runtime.store.checksums import BESIDE


@pytest.mark.parametrize("how", ["pickle", "class"])
def test_a_result_that_would_run_code_is_computed_again(server, tmp_path, how):
    """Each file of a result says how Prefect is to read it."""
    photos = helpers.photos(tmp_path / "photos", each=8)
    (tmp_path / "r.toml").write_text(helpers.recipe(photos, f"hostile-{how}"))
    recipe = settings.load(tmp_path / "r.toml")
    kept, planted = Path(os.environ["PREFECT_LOCAL_STORAGE_PATH"]), tmp_path / "planted"
    before = set(kept.glob("*"))
    first = check(recipe)
    made = {file for file in set(kept.iterdir()) - before if file.suffix != BESIDE}
    assert made
    for file in made:
        result = json.loads(file.read_text())
        if how == "pickle":
            result["metadata"]["serializer"] = PickleSerializer().model_dump()
            result["result"] = base64.encodebytes(pickle.dumps(helpers.Evil(planted))).decode()
        else:
            result["result"] = json.dumps({"__class__": "subprocess.getoutput", "data": [f"touch {planted}"]})
        file.write_text(json.dumps(result))
        file.with_name(f"{file.name}{BESIDE}").unlink()
    assert check(recipe) == first
    assert not planted.exists()
