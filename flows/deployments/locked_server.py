"""The process of our own Prefect server: Prefect's application, for requests that name this machine alone.

Started by `own_server.started`, with the password in the environment, a socket that listens already, and a standard
input that ends with the process that has started it. The name in a request is checked as a page of another site could
otherwise reach the server under that site's own name (DNS rebinding).
"""

import os
import signal
import socket
import sys
import threading

import uvicorn
from prefect.server.api.server import create_app
from starlette.middleware.trustedhost import TrustedHostMiddleware

HOSTS = ["127.0.0.1", "localhost"]
#: Seconds to end by itself once nobody needs it any more.
ENDS = 3


def main(listener: int) -> None:
    """Serve on the socket of this number until told to end, or until who started it has ended."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    app = TrustedHostMiddleware(create_app(final=True), allowed_hosts=HOSTS)
    config = uvicorn.Config(app, log_level="warning", timeout_keep_alive=5, lifespan="on")
    uvicorn.Server(config).run([socket.socket(fileno=listener)])


def _end_with_parent() -> None:
    os.read(0, 1)
    threading.Timer(ENDS, os._exit, [1]).start()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(int(sys.argv[1]))
