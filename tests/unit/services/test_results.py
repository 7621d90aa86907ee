"""Which kept results of stages are read."""

import json

import pytest
from prefect.serializers import JSONSerializer, PickleSerializer

from tasks.services.orchestration import results

RECORD = {"__class__": "tasks.records.models.ModelRef", "data": {"path": "p", "parts": [{"name": "x"}]}}


def _kept(result, serializer=None):
    read = (serializer or JSONSerializer()).model_dump()
    return json.dumps({"metadata": {"serializer": read}, "result": json.dumps(result)}).encode()


def test_a_record_of_this_project_is_read():
    assert results.record(_kept(RECORD))


@pytest.mark.parametrize(
    "kept",
    [
        _kept(RECORD, PickleSerializer()),
        _kept(RECORD, JSONSerializer(object_decoder="os.system")),
        _kept(RECORD, JSONSerializer(jsonlib="my.own")),
        _kept({"__class__": "subprocess.Popen", "data": "true"}),
        _kept({"__class__": "tasks.records.base.digest", "data": {}}),
        _kept({"__class__": "tasks.records.models.nothing", "data": {}}),
        _kept({"__exc_type__": "SystemExit", "message": "0"}),
        _kept(RECORD | {"data": {"inside": {"__class__": "subprocess.Popen", "data": "true"}}}),
        _kept(["a list"]),
        b"\x80\x04.",
        b"",
        b"[" * 100_000,
    ],
)
def test_nothing_else_is(kept):
    assert not results.record(kept)
