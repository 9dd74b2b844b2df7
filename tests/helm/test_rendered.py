"""What the rendered objects promise beyond their schemas."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from config import Settings
from config.validate import problems_of
from tests.fakes.exposition import names_in
from tests.helm.chart import CHART, VALUES, Object, Rendered, helm, render

PRODUCTION = Path(__file__).parent / "values" / "production.yaml"
DOWNLOAD = Path(__file__).parent / "values" / "download.yaml"
EXTERNAL = Path(__file__).parent / "values" / "external.yaml"
BY_VALUES = pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)


def settings_in(rendered: Rendered, component: str) -> Settings:
    """Return the settings of a ConfigMap, read by the schema that the program reads them with."""
    return Settings.model_validate(yaml.safe_load(rendered.one("ConfigMap", component)["data"]["gateway.yaml"]))


def container(template: Object) -> Object:
    """Return a pod's one container."""
    (found,) = template["spec"]["containers"]
    return dict(found)


def variables(template: Object) -> dict[str, Any]:
    """Return a container's variables by name."""
    return {entry["name"]: entry for entry in container(template)["env"]}


@BY_VALUES
def test_the_settings_are_ones_that_the_programs_take(values: Path) -> None:
    rendered = render(values)
    assert problems_of(settings_in(rendered, "gateway")) == []
    if rendered.of("StatefulSet") and "engine" in str(rendered.of("StatefulSet")):
        assert problems_of(settings_in(rendered, "engine")) == []


@BY_VALUES
def test_every_pod_is_restricted(values: Path) -> None:
    """Pod Security Standards, `restricted`: https://kubernetes.io/docs/concepts/security/pod-security-standards/"""
    for name, template in render(values).pods():
        spec = template["spec"]
        assert spec["enableServiceLinks"] is False, name
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for each in [*spec.get("initContainers", []), *spec["containers"]]:
            security = each["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["readOnlyRootFilesystem"] is True, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name


@BY_VALUES
def test_every_mount_has_its_volume(values: Path) -> None:
    rendered = render(values)
    claims = {
        claim["metadata"]["name"]
        for each in rendered.of("StatefulSet")
        for claim in each["spec"].get("volumeClaimTemplates", [])
    }
    for name, template in rendered.pods():
        volumes = {volume["name"] for volume in template["spec"].get("volumes", [])} | claims
        for each in [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]:
            assert {mount["name"] for mount in each.get("volumeMounts", [])} <= volumes, name


@BY_VALUES
def test_a_selector_finds_its_pods_and_nothing_else(values: Path) -> None:
    rendered = render(values)
    pods = dict(rendered.pods())
    for each in [*rendered.of("Deployment"), *rendered.of("StatefulSet")]:
        wanted = each["spec"]["selector"]["matchLabels"].items()
        found = [name for name, pod in pods.items() if wanted <= pod["metadata"]["labels"].items()]
        assert found == [each["metadata"]["name"]]
        assert set(each["spec"]["selector"]["matchLabels"]) == {
            f"app.kubernetes.io/{part}" for part in ("name", "instance", "component")
        }


def test_gateways_look_engines_up() -> None:
    routing = settings_in(render(PRODUCTION), "gateway").routing
    assert (routing.dns, routing.engines) == ("g-gemma-gateway-engine.chat.svc:8100", ())
    elsewhere = settings_in(render(EXTERNAL), "gateway").routing
    assert (elsewhere.dns, elsewhere.engines) == ("", ("http://10.0.0.1:8100", "http://vllm.example.org"))


def test_an_engine_that_goes_is_out_of_sight_before_it_is_told_to_end() -> None:
    rendered = render()
    engine = rendered.one("StatefulSet", "engine")["spec"]["template"]["spec"]
    ttl_of_cluster_dns_seconds = 5
    looked_up_every_seconds = settings_in(rendered, "gateway").routing.discovery_seconds
    assert sleep_of(engine) > ttl_of_cluster_dns_seconds + looked_up_every_seconds
    assert service(rendered, "g-gemma-gateway-engine")["clusterIP"] == "None"
    assert render().one("StatefulSet", "engine")["spec"]["serviceName"] == "g-gemma-gateway-engine"


def test_an_engine_needs_no_spare_gpu_to_be_updated() -> None:
    """A StatefulSet's rolling update ends a pod before it starts the next."""
    spec = render().one("StatefulSet", "engine")["spec"]
    assert spec["updateStrategy"] == {"type": "RollingUpdate"}
    assert "minReadySeconds" not in spec
    assert container(spec["template"])["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container(spec["template"])["resources"]["requests"]["nvidia.com/gpu"] == "1"


def test_an_update_can_be_tried_on_one_engine_or_go_faster() -> None:
    values = ("engine.rollout.partition=3", "engine.rollout.maxUnavailable=2", "engine.rollout.minReadySeconds=60")
    spec = render(*values).one("StatefulSet", "engine")["spec"]
    assert spec["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 2, "partition": 3}
    assert spec["minReadySeconds"] == 60


def test_a_gateway_has_more_time_to_start_than_its_probe_gives_before_an_update_counts_as_failed() -> None:
    spec = render().one("Deployment", "gateway")["spec"]
    probe = container(spec["template"])["startupProbe"]
    assert spec["progressDeadlineSeconds"] > probe["periodSeconds"] * probe["failureThreshold"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_an_engine_that_fails_one_probe_gets_no_new_requests_and_five_before_it_is_killed() -> None:
    engine = container(render().one("StatefulSet", "engine")["spec"]["template"])
    assert engine["readinessProbe"]["failureThreshold"] == 1
    assert engine["livenessProbe"]["failureThreshold"] == 5


def test_the_demo_needs_no_gpu_no_token_and_no_claim_for_a_model() -> None:
    rendered = render("profile=demo")
    template = rendered.one("StatefulSet", "engine")["spec"]["template"]
    assert "gpu" not in str(container(template)["resources"])
    assert "HF_TOKEN" not in variables(template)
    assert variables(template)["HF_HUB_OFFLINE"]["value"] == "1"
    assert "volumeClaimTemplates" not in rendered.one("StatefulSet", "engine")["spec"]
    assert "engine-cpu" in container(template)["image"]
    assert settings_in(rendered, "engine").engine.profile == "demo"
    assert rendered.one("NetworkPolicy", "engine")["spec"]["egress"] == []


def test_a_model_is_downloaded_at_one_commit_and_then_read_offline_by_an_engine_without_the_token() -> None:
    rendered = render(DOWNLOAD)
    template = rendered.one("StatefulSet", "engine")["spec"]["template"]
    (download,) = template["spec"]["initContainers"]
    given = {entry["name"]: entry.get("value") for entry in download["env"]}
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert (given["MODEL"], given["REVISION"]) == (settings_in(rendered, "engine").engine.model, commit)
    assert settings_in(rendered, "engine").engine.revision == commit
    assert given["HTTPS_PROXY"] == "http://proxy.example.org:3128"
    assert {"HF_TOKEN", "HF_HOME"} <= set(given)
    assert download["command"][2] == (CHART / "files" / "download.py").read_text(encoding="utf-8")
    assert {mount["name"]: mount.get("readOnly", False) for mount in download["volumeMounts"]}["models"] is False
    engine = variables(template)
    assert engine["HF_HOME"]["value"] == given["HF_HOME"]
    assert engine["HF_HUB_OFFLINE"]["value"] == "1"
    assert "HF_TOKEN" not in engine
    assert {mount["name"]: mount.get("readOnly", False) for mount in container(template)["volumeMounts"]}["models"]
    assert "initContainers" not in render().one("StatefulSet", "engine")["spec"]["template"]["spec"]


def test_a_claim_that_is_there_can_be_the_source_of_the_model() -> None:
    values = ("settings.engine.model=/models/gemma", "engine.modelCache.existingClaim=weights", "engine.offline=true")
    engine = render(*values).one("StatefulSet", "engine")["spec"]
    volumes = {volume["name"]: volume for volume in engine["template"]["spec"]["volumes"]}
    assert volumes["models"]["persistentVolumeClaim"] == {"claimName": "weights"}
    assert "volumeClaimTemplates" not in engine
    mounts = {mount["name"]: mount for mount in container(engine["template"])["volumeMounts"]}
    assert mounts["models"] == {"name": "models", "mountPath": "/models", "readOnly": True}


def test_the_engine_becomes_vllm_and_its_probe_looks_for_hangs() -> None:
    engine = container(render().one("StatefulSet", "engine")["spec"]["template"])
    assert engine["command"] + engine["args"] == ["python3", "-m", "engine", "--exec"]
    assert engine["livenessProbe"]["exec"]["command"] == ["python3", "-m", "engine.probe"]
    startup = engine["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 1800
    volumes = render().one("StatefulSet", "engine")["spec"]["template"]["spec"]["volumes"]
    (shm,) = (volume for volume in volumes if volume["name"] == "shm")
    assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}


@BY_VALUES
def test_the_time_to_end_covers_the_drain(values: Path) -> None:
    rendered = render(values)
    seconds = settings_in(rendered, "gateway").server.drain_seconds
    gateway = rendered.one("Deployment", "gateway")["spec"]["template"]["spec"]
    assert gateway["terminationGracePeriodSeconds"] > seconds + sleep_of(gateway)
    for each in rendered.of("StatefulSet"):
        if each["metadata"]["name"].endswith("-engine"):
            engine = each["spec"]["template"]["spec"]
            seconds = settings_in(rendered, "engine").engine.shutdown_timeout_seconds
            assert engine["terminationGracePeriodSeconds"] > seconds + sleep_of(engine)


def sleep_of(spec: Object) -> int:
    """Return how long a pod sleeps before its SIGTERM."""
    return int(spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"])


def test_an_older_kubernetes_sleeps_by_a_command() -> None:
    gateway = container(render(kube="1.29").one("Deployment", "gateway")["spec"]["template"])
    assert gateway["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "5"]


def test_probes_of_the_gateway_ask_for_it_alone() -> None:
    gateway = container(render().one("Deployment", "gateway")["spec"]["template"])
    assert gateway["readinessProbe"]["httpGet"]["path"] == "/health/ready?scope=gateway"
    assert gateway["livenessProbe"]["httpGet"]["path"] == "/health/live"


def test_a_limit_of_the_gateway_does_not_restart_the_engine() -> None:
    def sums(*assignments: str) -> dict[str, str]:
        pods = render(*assignments).pods()
        return {name: p["metadata"].get("annotations", {}).get("checksum/config", "") for name, p in pods}

    before, after = sums(), sums("settings.limits.requests_per_minute=7")
    assert {name for name in before if before[name] != after[name]} == {"g-gemma-gateway-gateway"}
    engine = sums("settings.engine.max_num_seqs=7")
    assert before["g-gemma-gateway-engine"] != engine["g-gemma-gateway-engine"]


def test_a_given_secret_reaches_every_pod_and_none_is_made() -> None:
    rendered = render("auth.existingSecret=mine")
    assert rendered.of("Secret") == []
    named = set(re.findall(r"secretKeyRef:\n\s+name: (\S+)", rendered.text))
    assert named == {"mine", "hf-token"}
    for name, template in render(PRODUCTION).pods():
        assert template["spec"]["imagePullSecrets"] == [{"name": "registry"}], name
        assert container(template)["image"].startswith("registry.example.org/ai/"), name


def test_all_gateways_have_the_same_secrets() -> None:
    """What is not given is derived from a key that each pod makes for itself: its tokens would hold nowhere else."""
    (secret,) = render().of("Secret")
    assert set(secret["data"]) == {"api-key", "jwt-secret", "cache-salt-secret", "redis-password"}
    given = variables(render().one("Deployment", "gateway")["spec"]["template"])
    for name, key in (
        ("GEMMA_AUTH__JWT_SECRET", "jwt-secret"),
        ("GEMMA_PROMPT__CACHE_SALT_SECRET", "cache-salt-secret"),
    ):
        assert given[name]["valueFrom"]["secretKeyRef"] == {"name": "g-gemma-gateway", "key": key}


def test_a_pods_checksum_is_that_of_the_secret_it_reads() -> None:
    rendered = render()
    (secret,) = rendered.of("Secret")
    data = {name: secret["data"][name] for name in sorted(secret["data"])}
    sums = {
        name: pod["metadata"]["annotations"]["checksum/secret"]
        for name, pod in rendered.pods()
        if "checksum/secret" in pod["metadata"].get("annotations", {})
    }
    whole, password = json.dumps(data, separators=(",", ":")), data["redis-password"]
    assert sums == {
        "g-gemma-gateway-gateway": hashlib.sha256(whole.encode()).hexdigest(),
        "g-gemma-gateway-redis": hashlib.sha256(password.encode()).hexdigest(),
    }
    assert "checksum/secret" not in render("auth.existingSecret=mine").text


def test_no_secret_is_in_a_config_map() -> None:
    for each in render().of("ConfigMap"):
        assert not re.search(r"password|api_key|secret:|token:", str(each["data"]))


def test_replicas_are_left_to_an_autoscaler() -> None:
    rendered = render(PRODUCTION)
    assert "replicas" not in rendered.one("Deployment", "gateway")["spec"]
    assert "replicas" not in rendered.one("StatefulSet", "engine")["spec"]
    (scaler,) = rendered.of("HorizontalPodAutoscaler")
    assert scaler["spec"]["metrics"][0]["resource"]["name"] == "cpu"


def test_keda_asks_for_vllms_own_label_and_takes_no_data_for_a_fault() -> None:
    (scaled,) = render(PRODUCTION).of("ScaledObject")
    triggers = scaled["spec"]["triggers"]
    assert {trigger["metadata"]["query"] for trigger in triggers} == {
        f'sum(vllm:{name}{{model_name="gemma-3n",namespace="chat"}})'
        for name in ("num_requests_waiting", "kv_cache_usage_perc")
    }
    for trigger in triggers:
        assert trigger["metricType"] == "AverageValue"
        assert trigger["metadata"]["ignoreNullValues"] == "false"
        assert isinstance(trigger["metadata"]["threshold"], str)
    assert scaled["spec"]["scaleTargetRef"]["kind"] == "StatefulSet"
    assert scaled["spec"]["fallback"]["replicas"] >= 1


def test_a_budget_needs_more_than_one_pod() -> None:
    assert [each["metadata"]["name"] for each in render().of("PodDisruptionBudget")] == ["g-gemma-gateway-gateway"]
    assert render("gateway.replicas=1").of("PodDisruptionBudget") == []


def test_only_gateways_and_prometheus_reach_an_engine() -> None:
    rule = render().one("NetworkPolicy", "engine")["spec"]["ingress"]
    assert len(rule) == 1
    first, second = rule[0]["from"]
    assert first["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "gateway"
    assert second["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}
    redis = render().one("NetworkPolicy", "redis")["spec"]
    assert redis["egress"] == []
    assert len(redis["ingress"][0]["from"]) == 1


def service(rendered: Rendered, name: str) -> Object:
    """Return the spec of a Service."""
    (found,) = (each for each in rendered.of("Service") if each["metadata"]["name"] == name)
    return dict(found["spec"])


@BY_VALUES
def test_metrics_have_a_port_that_only_prometheus_and_the_test_reach(values: Path) -> None:
    rendered = render(values)
    port = settings_in(rendered, "gateway").telemetry.metrics_port
    gateway = container(rendered.one("Deployment", "gateway")["spec"]["template"])
    assert {each["name"]: each["containerPort"] for each in gateway["ports"]} == {"http": 8000, "metrics": port}
    assert [each["name"] for each in service(rendered, "g-gemma-gateway")["ports"]] == ["http"]
    (scraped,) = service(rendered, "g-gemma-gateway-metrics")["ports"]
    assert (scraped["name"], scraped["port"], scraped["targetPort"]) == ("metrics", port, "metrics")
    (monitor,) = rendered.of("ServiceMonitor")
    assert [each["port"] for each in monitor["spec"]["endpoints"]] == ["metrics"]
    api, metrics = rendered.one("NetworkPolicy", "gateway")["spec"]["ingress"]
    assert (api["ports"], metrics["ports"]) == ([{"port": "http"}], [{"port": "metrics"}])
    test, prometheus = metrics["from"]
    assert test["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "test"
    assert prometheus["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}
    (smoke,) = rendered.of("Pod")
    assert variables({"spec": smoke["spec"]})["METRICS_URL"]["value"] == f"http://g-gemma-gateway-metrics:{port}"


def test_sentinels_are_told_to_the_gateway_and_let_through() -> None:
    rendered = render(EXTERNAL, "settings.redis.sentinels={10.0.0.1:26379,10.0.0.2:26379,10.0.0.3:26380}")
    assert len(settings_in(rendered, "gateway").redis.sentinels) == 3
    ports = [rule["ports"] for rule in rendered.one("NetworkPolicy", "gateway")["spec"]["egress"]]
    assert [{"port": 6379}, {"port": 26379}, {"port": 26380}] in ports
    given = variables(rendered.one("Deployment", "gateway")["spec"]["template"])
    password = given["GEMMA_REDIS__SENTINEL_PASSWORD"]["valueFrom"]["secretKeyRef"]
    assert password == {"name": "redis-url", "key": "sentinel-password", "optional": True}
    assert "SENTINEL" not in str(render(EXTERNAL).one("Deployment", "gateway"))


def test_streams_are_neither_buffered_nor_cut() -> None:
    rendered = render(PRODUCTION)
    (ingress,) = rendered.of("Ingress")
    prefix = "nginx.ingress.kubernetes.io/proxy-"
    notes = {name.removeprefix(prefix): value for name, value in ingress["metadata"]["annotations"].items()}
    assert notes == {
        "buffering": "off",
        "request-buffering": "off",
        "read-timeout": "3600",
        "send-timeout": "3600",
        "body-size": "20971520",
    }
    (route,) = rendered.of("HTTPRoute")
    assert route["spec"]["rules"][0]["timeouts"] == {"request": "0s", "backendRequest": "0s"}
    paths = [path["path"] for path in ingress["spec"]["rules"][0]["http"]["paths"]]
    assert paths == ["/v1"]


def test_custom_resources_wait_for_their_operator() -> None:
    assert {each["apiVersion"] for each in render(apis=()).objects} & {"monitoring.coreos.com/v1"} == set()
    assert len(render("monitoring.mode=always", apis=()).of("ServiceMonitor")) == 1
    assert render("monitoring.mode=never").of("PrometheusRule") == []


def test_alerts_can_be_left_out_by_name() -> None:
    def alerts(*assignments: str) -> list[str]:
        (rule,) = render(*assignments).of("PrometheusRule")
        return [each["alert"] for group in rule["spec"]["groups"] for each in group["rules"]]

    every = alerts()
    assert alerts(f"monitoring.disabledAlerts={{{every[0]}}}") == every[1:]


def test_the_test_pod_looks_for_every_series_of_the_alerts() -> None:
    """What its script does with them is tested where there is a gateway."""
    rendered = render()
    (smoke,) = rendered.of("Pod")
    (rule,) = rendered.of("PrometheusRule")
    queries = [each["expr"] for group in rule["spec"]["groups"] for each in group["rules"]]
    named = {name for query in queries for name in names_in(query) if name.startswith("gateway_")}
    assert variables({"spec": smoke["spec"]})["SERIES"]["value"].split() == sorted(named)
    assert container({"spec": smoke["spec"]})["command"][2] == (CHART / "files" / "smoke.py").read_text(
        encoding="utf-8"
    )


def test_the_notes_tell_how_to_ask() -> None:
    done = helm("install", "g", CHART, "--dry-run=client", "--namespace", "chat")
    assert "/v1/chat/completions" in done.stdout, done.stderr
    assert "helm -n chat test g" in done.stdout
