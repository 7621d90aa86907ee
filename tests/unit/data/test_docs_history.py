"""The project of Great Expectations in the home: what its own client and pages show after several checks."""

import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import great_expectations as gx
import pytest

from flows.contracts.checks import good_images
from tasks.data.expectations import Case, evaluate
from tasks.runtime import plugins
from tasks.settings import Validation


@pytest.fixture
def check(tmp_path, monkeypatch):
    """A check of the same images as the recipe `pets.v2`, some of them without a width."""
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path))

    def run(width):
        images = good_images().assign(width=width)
        return evaluate(plugins.entry("expectations", "images")(Case(images, Validation())), recipe="pets.v2")

    return run


def _text(site):
    return (site / "index.html").read_text()


def _project(folder):
    return gx.get_context(mode="file", project_root_dir=str(folder))


def test_suites_results_and_a_checkpoint_are_kept_by_name(check, tmp_path):
    assert all(finding.passed for finding in check(50))
    assert not all(finding.passed for finding in check(2))
    project = _project(tmp_path)
    names = {suite.name for suite in project.suites.all()}
    assert names and all(name.startswith("pets.v2.") for name in names)
    checkpoint = project.checkpoints.get("pets.v2")
    assert {each.name for each in checkpoint.validation_definitions} == names
    kept = [project.validation_results_store.get(key) for key in project.validation_results_store.list_keys()]
    assert len(kept) == 2 * len(names)
    assert {result.suite_name for result in kept} == names
    assert {result.success for result in kept} == {True, False}


def test_an_index_lists_every_check_and_its_links_open(check, tmp_path):
    check(50)
    check(2)
    site = tmp_path / "gx" / "uncommitted" / "data_docs" / "local_site"
    rows = re.findall(r'<tr><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td><td><a href="(.*?)">(.*?)</a>', _text(site))
    assert {recipe for _, recipe, *_ in rows} == {"pets.v2"}
    assert len(rows) == 2 * len({suite for _, _, suite, *_ in rows}) > 0
    times = [when for when, *_ in rows]
    assert times == sorted(times, reverse=True)
    for *_, address, text in rows:
        page = site / address
        assert " of " in text
        assert "<script" not in page.read_text()
        home = page.read_text().split('<a href="')[1].split('"')[0]
        assert (page.parent / home).resolve() == (site / "index.html").resolve()


def test_actions_that_a_person_has_added_run_after_each_check_though_one_fails(check, tmp_path, said):
    class Channel(BaseHTTPRequestHandler):
        def do_POST(self):
            posted.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_):
            pass

    posted = []
    channel = HTTPServer(("127.0.0.1", 0), Channel)
    threading.Thread(target=channel.serve_forever, daemon=True).start()
    check(50)
    project = _project(tmp_path)
    checkpoint = project.checkpoints.get("pets.v2")
    address = f"http://127.0.0.1:{channel.server_port}"
    checkpoint.actions = [
        gx.checkpoint.MicrosoftTeamsNotificationAction(name="gone", teams_webhook="no address"),
        gx.checkpoint.SlackNotificationAction(name="channel", slack_webhook=address),
    ]
    checkpoint.save()
    assert posted == []
    check(2)
    channel.shutdown()
    channel.server_close()
    assert any("pets.v2" in each for each in posted)
    assert "The action gone of the checkpoint pets.v2" in said()
    assert [each.name for each in _project(tmp_path).checkpoints.get("pets.v2").actions] == ["gone", "channel"]


def test_a_project_that_a_person_has_broken_stops_no_check(check, tmp_path, said):
    check(50)
    (tmp_path / "gx" / "great_expectations.yml").write_text("nothing: [of this")
    assert all(finding.passed for finding in check(50))
    assert "not in the history" in said()
