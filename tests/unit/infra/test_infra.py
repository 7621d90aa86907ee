"""The files in infra/: Compose's, by its schema, and the Kubernetes work pool's, as a worker fills it in."""

import json
import os
import re
import shutil
import subprocess

import pytest
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
    secret = {*servers.SECRETS, "PREFECT_AUTH"}
    assert {name for name in asked if f"${{{name}:?" in text} == secret
    assert not any(f"${{{name}{rest}" in text for name in secret for rest in ("}", ":-", "-"))
    assert not any(example[name] for name in secret)


#: Which secrets a service knows, each by its name in infra/.env.
KNOWN = {
    "proxy": set(),
    "postgres": {"POSTGRES_PASSWORD", "MLFLOW_DB_PASSWORD", "MLFLOW_USERS_DB_PASSWORD", "PREFECT_DB_PASSWORD"},
    "store": {"S3_ACCESS_KEY", "S3_SECRET_KEY"},
    "mlflow": {"MLFLOW_DB_PASSWORD", "MLFLOW_USERS_DB_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY"}
    | {"MLFLOW_ADMIN_PASSWORD", "MLFLOW_SECRET_KEY"},
    "accounts": {"MLFLOW_ADMIN_PASSWORD", "MLFLOW_PASSWORD"},
    "prefect": {"PREFECT_DB_PASSWORD", "PREFECT_AUTH"},
    "worker": {"MLFLOW_PASSWORD", "PREFECT_AUTH"},
    "worker-gpu": {"MLFLOW_PASSWORD", "PREFECT_AUTH"},
    "backup": {
        "MLFLOW_DB_PASSWORD",
        "MLFLOW_USERS_DB_PASSWORD",
        "PREFECT_DB_PASSWORD",
        "S3_ACCESS_KEY",
        "S3_SECRET_KEY",
    },
}


@pytest.mark.parametrize("name", servers.COMPOSE["services"])
def test_a_service_has_the_secrets_that_it_needs_and_no_other_right(name):
    service = servers.COMPOSE["services"][name]
    assert set(re.findall(r"\$\{(\w+):\?", str(service["environment"]))) == KNOWN[name]
    assert service["read_only"] and service["mem_limit"] and service["pids_limit"]
    assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "proxy" else [])
    assert not {"privileged", "network_mode", "pid", "ipc", "devices", "env_file"} & set(service)
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))
    ours = service["image"].startswith("headstart:")
    assert ours or re.search(r"@sha256:[0-9a-f]{64}$", service["image"])
    # What runs once, or by hand, has nothing to be asked.
    assert ("healthcheck" in service) == (service["restart"] != "no")


def test_only_the_proxy_can_be_reached_from_outside():
    services, networks = servers.COMPOSE["services"], servers.COMPOSE["networks"]
    assert {name for name, service in services.items() if "ports" in service} == {"proxy"}
    assert all(port.startswith(("127.0.0.1:", "${PROXY_BIND:-127.0.0.1}:")) for port in services["proxy"]["ports"])
    assert {name for name, network in networks.items() if not (network or {}).get("internal")} == {"outside"}
    on = {name: {each for each in services if name in services[each]["networks"]} for name in networks}
    assert on["databases"] == {"postgres", "mlflow", "prefect", "backup"}
    assert on["objects"] == {"store", "mlflow", "backup"}
    assert services["postgres"]["networks"] == ["databases"]
    assert services["store"]["networks"] == ["objects"]


def test_our_image_has_fixed_bases_and_is_not_run_by_root():
    text = (servers.INFRA / "Dockerfile").read_text()
    stages = re.findall(r"^FROM (\S+)(?: AS (\w+))?$", text, re.MULTILINE)
    named = {name for _, name in stages}
    assert all(image in named or re.search(r":[\w.-]+@sha256:[0-9a-f]{64}$", image) for image, _ in stages)
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE)[-1] == "headstart"
    assert not re.search(r"(?i)^(?:ARG|ENV) .*(?:password|secret|token|_key)", text, re.MULTILINE)


@pytest.mark.skipif(shutil.which("caddy") is None, reason="Caddy is not installed (Debian: apt-get install caddy)")
def test_the_proxy_takes_its_file():
    env = os.environ | servers.environment("proxy", {})
    command = ["caddy", "adapt", "--adapter", "caddyfile", "--config", str(servers.INFRA / "Caddyfile")]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ports = {port for each in json.loads(done.stdout)["apps"]["http"]["servers"].values() for port in each["listen"]}
    assert ports == {":5000", ":4200", ":443"}


def test_a_kubernetes_job_has_its_gpus_memory_and_secret():
    from prefect.utilities.templating import apply_values, find_placeholders

    properties = POOL["variables"]["properties"]
    assert {found.name for found in find_placeholders(POOL["job_configuration"])} == set(properties)
    values = {name: field["default"] for name, field in properties.items() if "default" in field}
    filled = apply_values(POOL["job_configuration"], values | {"gpus": 2, "memory": "16Gi", "name": "run"})
    pod = filled["job_manifest"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {
        "cpu": "4",
        "memory": "16Gi",
        "ephemeral-storage": "20Gi",
        "nvidia.com/gpu": 2,
    }
    assert container["resources"]["requests"] == {"cpu": "2", "memory": "16Gi", "nvidia.com/gpu": 2}
    assert container["envFrom"] == [{"secretRef": {"name": "headstart"}}]
    assert "serviceAccountName" not in pod


def test_a_kubernetes_job_has_no_right_that_it_does_not_need():
    pod = POOL["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    # Where it writes: the home, and what goes with the pod.
    kept = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
    written = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert written == {"/var/lib/headstart": "home", "/tmp": "files"}
    assert kept == {"files"}
