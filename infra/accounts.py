"""An account of MLflow for a worker or a person who trains: made if it is new, else given the password of now.

    MLFLOW_TRACKING_URI=… MLFLOW_TRACKING_USERNAME=admin MLFLOW_TRACKING_PASSWORD=… \
        MLFLOW_USER=ada MLFLOW_PASSWORD=… python infra/accounts.py

Its role may do all with experiments and registered models: runs, versions, aliases, tags. It makes no accounts,
webhooks or secrets. Who has an account without the role reads all, and writes only what is new and its own.
"""

import os

from mlflow.exceptions import MlflowException
from mlflow.server import get_app_client

ROLE = "headstart"
#: Deleting needs MANAGE: a run that was sent twice, a tag.
RIGHTS = {"experiment": "MANAGE", "registered_model": "MANAGE"}
#: MLflow's only workspace where none was made.
WORKSPACE = "default"


def main() -> None:
    """Read the environment, and ask MLflow's server as its administrator."""
    client = get_app_client("basic-auth", os.environ["MLFLOW_TRACKING_URI"])
    name, password = os.environ["MLFLOW_USER"], os.environ["MLFLOW_PASSWORD"]
    if name == os.environ["MLFLOW_TRACKING_USERNAME"]:
        raise SystemExit(f"MLFLOW_USER: expected another account than the administrator's, found {name} for both.")
    try:
        client.create_user(name, password)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        client.update_user_password(name, password)
    roles = [role for role in client.list_roles(WORKSPACE) if role.name == ROLE]
    role = roles[0] if roles else client.create_role(WORKSPACE, ROLE, "Trains, registers and promotes.")
    given = {permission.resource_type for permission in client.list_role_permissions(role.id)}
    for kind, right in RIGHTS.items():
        if kind not in given:
            client.add_role_permission(role.id, kind, "*", right)
    if ROLE not in {each.name for each in client.list_user_roles(name)}:
        client.assign_role(name, role.id)
    print(f"{name} may train and register.")


if __name__ == "__main__":
    main()
