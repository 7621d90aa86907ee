"""MLflow's webhooks tell others of versions and of the champion, as the documents show them."""

import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import helpers
import pytest
from documents import block
from servers import BIN, Server

#: What a machine that trains does: a version, and it becomes the champion.
RELEASE = """
import tiny_versions
from tasks.services.registry import promotion
promotion.promote("pets", tiny_versions.register("pets", opponent=""))
"""


@pytest.fixture
def told():
    """An address, and what was sent to it."""
    found = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            found.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            """Be quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", found
    server.shutdown()
    server.server_close()


def test_a_webhook_tells_of_the_new_champion(tmp_path, told):
    address, found = told
    port = helpers.free_port()
    # This machine's addresses are not public, and its receiver has no certificate.
    allowed = {"MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true", "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http"}
    command = f"server --host 127.0.0.1 --port {port} --workers 1 --backend-store-uri sqlite:///mlflow.db"
    server = Server(
        [str(BIN / "mlflow"), *command.split(), "--artifacts-destination", str(tmp_path / "artifacts")],
        helpers.outside() | allowed,
        f"http://127.0.0.1:{port}/health",
        tmp_path / "log",
    )
    try:
        server.start()
        at = helpers.outside() | {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
        code = block("mlflow/README.md", "create_webhook").replace("https://example.org/champions", address)
        support = str(Path(__file__).parents[1] / "support")
        for text, more in ((code, {}), (RELEASE, {"PYTHONPATH": support, "HEADSTART_HOME": str(tmp_path / "home")})):
            done = subprocess.run([sys.executable, "-c", text], env=at | more, cwd=tmp_path, text=True, timeout=300)
            assert done.returncode == 0
        wanted = {("model_version", None), ("model_version_alias", "champion")}
        until = time.monotonic() + 30
        while time.monotonic() < until and not wanted <= _said(found):
            time.sleep(0.1)
    finally:
        server.stop()
    assert wanted <= _said(found)


def _said(found):
    return {(each["entity"], each["data"].get("alias")) for each in found}
