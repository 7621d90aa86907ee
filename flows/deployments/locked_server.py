"""The process of our own Prefect server: Prefect's application, for requests that name this machine alone.

Started by `servers.prefect`, which has set the password and the address in the environment. The name in a request is
checked as a page of another site could otherwise reach the server under that site's own name (DNS rebinding).
"""

import sys

import uvicorn
from prefect.server.api.server import create_app
from starlette.middleware.trustedhost import TrustedHostMiddleware

HOSTS = ["127.0.0.1", "localhost"]


def main(port: int) -> None:
    """Serve on the loopback address until told to end."""
    app = TrustedHostMiddleware(create_app(final=True), allowed_hosts=HOSTS)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", timeout_keep_alive=5)


if __name__ == "__main__":
    main(int(sys.argv[1]))
