"""The files in infra/: Compose's, by its schema, and the Kubernetes work pool's, as a worker fills it in."""

import json
import re
import subprocess

import servers

POOL = json.loads((servers.INFRA / "kubernetes-work-pool.json").read_text())


def test_compose_takes_the_file():
    command = [str(servers.BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    done = subprocess.run(command, cwd=servers.INFRA, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_secret_comes_from_the_environment_and_is_asked_for():
    text = (servers.INFRA / "compose.yaml").read_text()
    example = dict(re.findall(r"^(?:# )?(\w+)=(.*)$", (servers.INFRA / ".env.example").read_text(), re.MULTILINE))
    asked = set(re.findall(r"\$\{(\w+)", text))
    assert asked <= set(example)
    secret = {
        "POSTGRES_PASSWORD",
        "S3_ACCESS_KEY",
        "S3_SECRET_KEY",
        "MLFLOW_PASSWORD",
        "MLFLOW_SECRET_KEY",
        "PREFECT_AUTH",
    }
    assert {name for name in asked if f"${{{name}:?" in text} == secret
    assert not any(example[name] for name in secret)


def test_every_service_is_checked_and_none_of_ours_is_root():
    for name, service in servers.COMPOSE["services"].items():
        assert "healthcheck" in service, name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    lines = (servers.INFRA / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER")] == ["USER headstart"]


def test_a_kubernetes_job_has_its_gpus_memory_and_secret():
    from prefect.utilities.templating import apply_values, find_placeholders

    properties = POOL["variables"]["properties"]
    assert {found.name for found in find_placeholders(POOL["job_configuration"])} == set(properties)
    values = {name: field["default"] for name, field in properties.items() if "default" in field}
    filled = apply_values(POOL["job_configuration"], values | {"gpus": 2, "memory": "16Gi", "name": "run"})
    pod = filled["job_manifest"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {"memory": "16Gi", "nvidia.com/gpu": 2}
    assert container["resources"]["requests"] == {"cpu": "2", "memory": "16Gi", "nvidia.com/gpu": 2}
    assert container["envFrom"] == [{"secretRef": {"name": "headstart"}}]
    assert pod["securityContext"]["runAsNonRoot"]
    assert "serviceAccountName" not in pod
