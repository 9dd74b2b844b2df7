"""What the rendered engine promises, and who gets to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helm.chart import CHART, container, render, service, settings_in, sleep_of, variables

PRODUCTION = Path(__file__).parent / "values" / "production.yaml"
DOWNLOAD = Path(__file__).parent / "values" / "download.yaml"
EXTERNAL = Path(__file__).parent / "values" / "external.yaml"


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


def test_engine_and_gateway_allow_images_of_the_same_hosts() -> None:
    rendered = render("settings.prompt.media_hosts={images.example.org,cdn.example.org}")
    hosts = {part: settings_in(rendered, part).prompt.media_hosts for part in ("gateway", "engine")}
    assert hosts == dict.fromkeys(("gateway", "engine"), ("images.example.org", "cdn.example.org"))
    assert "prompt" not in render().one("ConfigMap", "engine")["data"]["gateway.yaml"]


@pytest.mark.parametrize(
    "way", ["networkPolicy.enabled=false", "networkPolicy.engineExtraEgress[0].ports[0].port=3128"]
)
def test_an_engine_without_the_hub_may_have_another_way_to_images(way: str) -> None:
    values = ("settings.prompt.media_hosts={images.example.org}", "engine.offline=true")
    assert settings_in(render(*values, way), "engine").prompt.media_hosts == ("images.example.org",)


def test_the_engine_becomes_vllm_and_its_probe_looks_for_hangs() -> None:
    engine = container(render().one("StatefulSet", "engine")["spec"]["template"])
    assert engine["command"] + engine["args"] == ["python3", "-m", "engine", "--exec"]
    assert engine["livenessProbe"]["exec"]["command"] == ["python3", "-m", "engine.probe"]
    startup = engine["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 1800
    volumes = render().one("StatefulSet", "engine")["spec"]["template"]["spec"]["volumes"]
    (shm,) = (volume for volume in volumes if volume["name"] == "shm")
    assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}


def test_keda_asks_for_vllms_own_label_and_takes_no_data_for_a_fault() -> None:
    (scaled,) = render(PRODUCTION).of("ScaledObject")
    triggers = scaled["spec"]["triggers"]
    assert {trigger["metadata"]["query"]: float(trigger["metadata"]["threshold"]) for trigger in triggers} == {
        'sum(vllm:num_requests_waiting{model_name="gemma-3n",namespace="chat"})': 4,
        'sum(vllm:kv_cache_usage_perc{model_name="gemma-3n",namespace="chat"})': 0.85,
        'sum(gateway_queued_requests{namespace="chat"})': 4,
    }
    for trigger in triggers:
        assert trigger["metricType"] == "AverageValue"
        assert trigger["metadata"]["ignoreNullValues"] == "false"
        assert isinstance(trigger["metadata"]["threshold"], str)
    assert scaled["spec"]["scaleTargetRef"]["kind"] == "StatefulSet"
    assert scaled["spec"]["fallback"]["replicas"] >= 1


def test_a_prometheus_that_is_away_takes_no_engine_away() -> None:
    (scaled,) = render(PRODUCTION, "engine.autoscaling.fallbackReplicas=3").of("ScaledObject")
    assert scaled["spec"]["fallback"] == {
        "failureThreshold": 3,
        "replicas": 3,
        "behavior": "currentReplicasIfHigher",
    }


def test_only_gateways_and_prometheus_reach_an_engine() -> None:
    rule = render().one("NetworkPolicy", "engine")["spec"]["ingress"]
    assert len(rule) == 1
    first, second = rule[0]["from"]
    assert first["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "gateway"
    assert second["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}
    redis = render().one("NetworkPolicy", "redis")["spec"]
    assert redis["egress"] == []
    assert len(redis["ingress"][0]["from"]) == 1
