"""What is deployed is closed up as promised, and its files speak of the service that there is."""

from __future__ import annotations

import argparse
import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from textmill import serve
from textmill.serving import aws_lambda, keys, supervisor, worker
from textmill.serving.application import _guarded, _open

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILES = {name: (ROOT / name).read_text("utf-8") for name in ("Dockerfile",)} | {
    "lambda": (DEPLOY / "lambda" / "Dockerfile").read_text("utf-8")
}


def read(name: str) -> Any:  # noqa: ANN401 - whatever YAML holds
    return yaml.safe_load((DEPLOY / name).read_text("utf-8"))


COMPOSE = read("compose.yaml")
SERVICE = COMPOSE["services"]["textmill"]
POD = read("kubernetes/deployment.yaml")["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
KINDS = {
    path.name: yaml.safe_load(path.read_text("utf-8"))
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
}


def words(instruction: str) -> list[str]:
    """The words of an instruction of the Dockerfile in its exec form."""
    (found,) = re.findall(rf"^{instruction} (\[.*\])$", DOCKERFILES["Dockerfile"], re.MULTILINE)
    listed: list[str] = json.loads(found)
    return listed


ENTRY_POINT = words("ENTRYPOINT")
HEALTH_CHECK = words("    CMD")


def options(arguments: list[str]) -> argparse.Namespace:
    """What `textmill serve` makes of what comes behind the image's entry point."""
    program, verb, *first = ENTRY_POINT
    assert (program, verb) == ("textmill", "serve")
    found = serve._parser().parse_args([*first, *arguments])
    serve._check(found)
    return found


COMMANDS = {
    "the image's own": words("CMD"),
    "compose": SERVICE["command"],
    "Kubernetes": CONTAINER["args"],
}


@pytest.mark.parametrize("place", COMMANDS)
def test_it_is_reached_from_outside_and_never_without_a_key(place: str) -> None:
    found = options(COMMANDS[place])
    assert (found.host, found.port, found.insecure) == ("0.0.0.0", 8000, False)  # noqa: S104
    with pytest.raises(serve.InputError):
        keys.check_exposure(found.host, keys.read_keys({}, None), insecure=found.insecure)


def test_the_image_runs_as_nobody_in_particular_and_writes_nothing() -> None:
    text = DOCKERFILES["Dockerfile"]
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    assert text.index("\nUSER ") > text.index(" AS base\n")
    assert re.findall(r"^FROM base AS (\w+)$", text, re.MULTILINE) == ["baked", "service"]
    assert "PYTHONDONTWRITEBYTECODE=1" in text
    assert "STOPSIGNAL SIGTERM" in text
    assert "EXPOSE 8000" in text
    assert "127.0.0.1:8000/healthz" in text


@pytest.mark.parametrize("name", DOCKERFILES)
def test_images_are_built_from_pinned_parts_without_what_only_training_needs(name: str) -> None:
    text = DOCKERFILES[name]
    (image,) = re.findall(r"^ARG \w+_IMAGE=(.*)$", text, re.MULTILINE)
    assert re.fullmatch(r"\S+:3\.12\S*", image)
    installed = re.findall(r"pip .*?install (.*)", text)
    assert len(installed) == 2
    assert all("--constraint constraints.txt" in line for line in installed)
    extras = re.findall(r"\[(\w+)\]|^ARG EXTRAS=(.*)$", text, re.MULTILINE)
    assert ["".join(extra) for extra in extras] == ["lambda" if name == "lambda" else "serve"]
    assert not re.findall(r"^(?:ENV|ARG).*(?:KEY|SECRET|TOKEN)", text, re.MULTILINE)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_is_copied_into_an_image_is_not_ignored(name: str) -> None:
    allowed = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert "*" in allowed
    (bundle,) = set(re.findall(r"^ARG BUNDLE=(.*)$", DOCKERFILES[name], re.MULTILINE))
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILES[name], re.MULTILINE):
        for source in line.replace("${BUNDLE}", bundle).split()[:-1]:
            assert f"!{Path(source).parts[0]}" in allowed, source


def test_compose_and_kubernetes_take_everything_away_that_a_service_does_not_need() -> None:
    for service in COMPOSE["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert {"cpus", "mem_limit", "pids_limit"} <= service.keys()
    pod, own = POD["securityContext"], CONTAINER["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert f"{pod['runAsUser']}:{pod['runAsGroup']}" == "10001:10001"
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["readOnlyRootFilesystem"] is True
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert POD["automountServiceAccountToken"] is False


def test_where_the_service_writes_can_be_written() -> None:
    assert SERVICE["tmpfs"] == ["/tmp"]  # noqa: S108
    mounts = {mount["mountPath"]: mount for mount in CONTAINER["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    assert "emptyDir" in volumes[mounts["/tmp"]["name"]]  # noqa: S108
    assert mounts.keys() - {"/tmp"} == {"/run/secrets/textmill"}  # noqa: S108


def test_keys_come_from_secrets() -> None:
    assert options(SERVICE["command"]).api_keys == Path("/run/secrets") / SERVICE["secrets"][0]
    found = options(CONTAINER["args"]).api_keys
    (mount,) = (m for m in CONTAINER["volumeMounts"] if Path(m["mountPath"]) == found.parent)
    (volume,) = (v for v in POD["volumes"] if v["name"] == mount["name"])
    assert volume["secret"]["secretName"] == "textmill-api-keys"
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    for secret in COMPOSE["secrets"].values():
        assert f"deploy/{Path(secret['file']).parent.name}/" in ignored


def test_every_probe_asks_a_route_that_there_is_and_needs_no_key() -> None:
    unguarded = {route.path for route in _open.routes}
    (port,) = (p for p in CONTAINER["ports"] if p["name"] == "http")
    assert port["containerPort"] == options(CONTAINER["args"]).port
    probes = {name: CONTAINER[f"{name}Probe"] for name in ("startup", "readiness", "liveness")}
    for probe in probes.values():
        assert probe["httpGet"]["path"] in unguarded
        assert probe["httpGet"]["port"] == port["name"]
    # A pod that only can't answer yet, or is about to end, is not to be killed.
    assert probes["liveness"]["httpGet"]["path"] == "/healthz"
    assert probes["readiness"]["httpGet"]["path"] == "/readyz"
    assert "127.0.0.1:8000/readyz" in SERVICE["healthcheck"]["test"][-1]


def test_the_checks_in_the_container_are_python_that_asks_the_service() -> None:
    for command in (HEALTH_CHECK, SERVICE["healthcheck"]["test"][1:]):
        assert command[:3] == ["python", "-I", "-c"]
        ast.parse(command[3])


def test_nothing_is_killed_before_it_has_answered_what_it_accepted() -> None:
    for place, wait in (("compose", 0), ("Kubernetes", preparation())):
        timeout = options(COMMANDS[place]).timeout
        needed = wait + worker.LINGER_SECONDS + timeout + supervisor._LATE_SECONDS
        given = {
            "compose": int(SERVICE["stop_grace_period"].removesuffix("s")),
            "Kubernetes": POD["terminationGracePeriodSeconds"],
        }
        assert given[place] > needed


def preparation() -> int:
    seconds: int = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    return seconds


def test_there_are_as_many_threads_as_processors() -> None:
    # The service sees all of the machine's, and would start a thread on each.
    assert options(SERVICE["command"]).threads == SERVICE["cpus"]
    assert options(CONTAINER["args"]).threads == int(CONTAINER["resources"]["limits"]["cpu"])


def test_prometheus_reads_the_metrics_with_a_key() -> None:
    (job,) = read("prometheus.yml")["scrape_configs"]
    assert job["metrics_path"] in {route.path for route in _guarded.routes}
    assert job["static_configs"] == [{"targets": ["textmill:8000"]}]
    (secret,) = COMPOSE["services"]["prometheus"]["secrets"]
    assert job["authorization"]["credentials_file"] == f"/run/secrets/{secret}"
    assert re.search(r":v\d+\.\d+\.\d+$", COMPOSE["services"]["prometheus"]["image"])


def test_what_belongs_to_the_pods_names_them() -> None:
    named = {"app.kubernetes.io/name": "textmill"}
    deployment = KINDS["deployment.yaml"]
    assert deployment["spec"]["selector"]["matchLabels"] == named
    assert named.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert KINDS["service.yaml"]["spec"]["selector"] == named
    assert KINDS["disruption-budget.yaml"]["spec"]["selector"]["matchLabels"] == named
    assert KINDS["network-policy.yaml"]["spec"]["podSelector"]["matchLabels"] == named
    target = KINDS["autoscaler.yaml"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    assert "replicas" not in deployment["spec"]
    listed = KINDS["kustomization.yaml"]["resources"]
    assert sorted([*listed, "kustomization.yaml"]) == sorted(KINDS)
    assert CONTAINER["image"] == KINDS["kustomization.yaml"]["images"][0]["name"]


def test_the_lambda_image_names_the_handler_and_its_bundle() -> None:
    text = DOCKERFILES["lambda"]
    (command,) = re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)
    assert json.loads(command) == [f"{aws_lambda.__name__}.handler"]
    (folder,) = re.findall(rf"\b{aws_lambda.BUNDLE_VARIABLE}=(\S+)", text)
    assert f"COPY ${{BUNDLE}} {folder}" in text
