"""An account of MLflow for a worker or a person who trains: made if it is new, else given the password of now.

    MLFLOW_TRACKING_URI=… MLFLOW_TRACKING_USERNAME=admin MLFLOW_TRACKING_PASSWORD=… \
        MLFLOW_USER=ada MLFLOW_PASSWORD=… python infra/accounts.py

Its role may do all with experiments and registered models: runs, versions, aliases, tags. It makes no accounts,
webhooks or secrets. Who has an account without the role reads all, and writes only what is new and its own.
"""

import os
from typing import Any

import requests

ROLE = "headstart"
#: Deleting needs MANAGE: a run that was sent twice, a tag.
RIGHTS = {"experiment": "MANAGE", "registered_model": "MANAGE"}
#: MLflow's only workspace where none was made.
WORKSPACE = "default"


def ask(method: str, path: str, **values: Any) -> dict[str, Any]:
    """What the server answers its administrator (https://mlflow.org/docs/latest/self-hosting/security/basic-http-auth)."""
    login = (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"])
    where = "params" if method == "GET" else "json"
    url = f"{os.environ['MLFLOW_TRACKING_URI']}/api/{path}"
    answer = requests.request(method, url, auth=login, timeout=60, **{where: values})
    if answer.status_code == 401:
        raise SystemExit(
            f"MLFLOW_TRACKING_USERNAME and _PASSWORD: expected those of MLflow's administrator, {url} refuses."
        )
    if not answer.ok and "RESOURCE_ALREADY_EXISTS" not in answer.text:
        raise SystemExit(f"{method} {url}: {answer.status_code} {answer.text[:300]}")
    return answer.json() if answer.text.startswith("{") else {}


def main() -> None:
    """Make the account and its role where they are missing."""
    name, password = os.environ["MLFLOW_USER"], os.environ["MLFLOW_PASSWORD"]
    if name == os.environ["MLFLOW_TRACKING_USERNAME"]:
        raise SystemExit(f"MLFLOW_USER: expected another account than the administrator's, found {name} for both.")
    ask("POST", "2.0/mlflow/users/create", username=name, password=password)
    ask("PATCH", "2.0/mlflow/users/update-password", username=name, password=password)
    # The one account of 0.1.0 was the administrator's.
    ask("PATCH", "2.0/mlflow/users/update-admin", username=name, is_admin=False)
    ask("POST", "3.0/mlflow/roles/create", workspace=WORKSPACE, name=ROLE, description="Trains, registers, promotes.")
    roles = ask("GET", "3.0/mlflow/roles/list", workspace=WORKSPACE)["roles"]
    (role,) = (each["id"] for each in roles if each["name"] == ROLE)
    for kind, right in RIGHTS.items():
        rule = {"resource_type": kind, "resource_pattern": "*", "permission": right}
        ask("POST", "3.0/mlflow/roles/permissions/add", role_id=role, **rule)
    ask("POST", "3.0/mlflow/roles/assign", username=name, role_id=role)
    print(f"{name} may train and register.")


if __name__ == "__main__":
    main()
