"""What the rendered objects promise beyond their schemas."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from config.validate import problems_of
from tests.fakes.exposition import names_in
from tests.helm.chart import (
    BY_VALUES,
    CHART,
    Object,
    Rendered,
    container,
    helm,
    render,
    service,
    settings_in,
    sleep_of,
    variables,
)

PRODUCTION = Path(__file__).parent / "values" / "production.yaml"
EXTERNAL = Path(__file__).parent / "values" / "external.yaml"


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


def test_a_gateway_has_more_time_to_start_than_its_probe_gives_before_an_update_counts_as_failed() -> None:
    spec = render().one("Deployment", "gateway")["spec"]
    probe = container(spec["template"])["startupProbe"]
    assert spec["progressDeadlineSeconds"] > probe["periodSeconds"] * probe["failureThreshold"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


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


def test_replicas_are_left_to_an_autoscaler() -> None:
    rendered = render(PRODUCTION)
    assert "replicas" not in rendered.one("Deployment", "gateway")["spec"]
    assert "replicas" not in rendered.one("StatefulSet", "engine")["spec"]
    (scaler,) = rendered.of("HorizontalPodAutoscaler")
    assert scaler["spec"]["metrics"][0]["resource"]["name"] == "cpu"


def test_a_budget_needs_more_than_one_pod() -> None:
    assert [each["metadata"]["name"] for each in render().of("PodDisruptionBudget")] == ["g-gemma-gateway-gateway"]
    assert render("gateway.replicas=1").of("PodDisruptionBudget") == []


@pytest.mark.parametrize("component", ["gateway", "engine"])
def test_a_drain_takes_one_pod_at_a_time_and_one_that_is_not_ready_at_any(component: str) -> None:
    replicas = ("gateway.replicas=5", "engine.replicas=5")

    def budget(*assignments: str) -> Object:
        spec = render(*replicas, *assignments).one("PodDisruptionBudget", component)["spec"]
        assert spec.pop("selector")
        return dict(spec)

    anyhow = {"unhealthyPodEvictionPolicy": "AlwaysAllow"}
    assert budget() == {"maxUnavailable": 1, **anyhow}
    assert budget(f"{component}.podDisruptionBudget.maxUnavailable=2") == {"maxUnavailable": 2, **anyhow}
    assert budget(f"{component}.podDisruptionBudget.minAvailable=3") == {"minAvailable": 3, **anyhow}


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


def egress(rendered: Rendered, component: str) -> list[Object]:
    """Return where the pods of a component may go."""
    return list(rendered.one("NetworkPolicy", component)["spec"]["egress"])


@pytest.mark.parametrize("component", ["gateway", "engine", "test"])
def test_the_clusters_dns_may_listen_elsewhere(component: str) -> None:
    both = [{"port": 5353, "protocol": protocol} for protocol in ("UDP", "TCP")]
    assert egress(render("networkPolicy.dnsPorts={5353}"), component)[0] == {"ports": both}
    assert [each["port"] for each in egress(render(), component)[0]["ports"]] == [53, 53]


def test_an_engine_can_be_let_out_further() -> None:
    collector = "networkPolicy.engineExtraEgress[0].ports[0].port=4318"
    rules = [[each["port"] for each in rule["ports"]] for rule in egress(render(collector), "engine")]
    assert rules == [[53, 53], [443], [4318]]
    offline = egress(render(collector, "engine.offline=true"), "engine")
    assert [each["port"] for rule in offline for each in rule["ports"]] == [53, 53, 4318]
    assert egress(render("engine.offline=true"), "engine") == []


def test_the_first_commands_push_every_image_that_a_registry_of_yours_needs() -> None:
    told = (CHART / "README.md").read_text(encoding="utf-8")
    pushed = set(re.findall(r"docker push (\S+)$", told, re.MULTILINE))
    pods = render("imageRegistry=registry.example.org").pods()
    assert {container(template)["image"] for _, template in pods} == pushed
    made = re.findall(r"docker (?:build .* -t|tag \S+) (\S+)", told)
    assert pushed <= set(made)


def test_trusted_hosts_have_the_names_that_the_test_the_notes_and_the_cluster_ask_by() -> None:
    rendered = render("settings.server.trusted_hosts={chat.example.org,localhost}")
    trusted = settings_in(rendered, "gateway").server.trusted_hosts
    (smoke,) = rendered.of("Pod")
    asked = urlsplit(variables({"spec": smoke["spec"]})["BASE_URL"]["value"]).hostname
    service_names = [f"g-gemma-gateway{rest}" for rest in ("", ".chat", ".chat.svc")]
    assert trusted == ("chat.example.org", "localhost", *service_names, "127.0.0.1")
    assert asked in trusted
    assert settings_in(render("settings.server.trusted_hosts={*}"), "gateway").server.trusted_hosts == ("*",)
    assert settings_in(render(), "gateway").server.trusted_hosts == ("*",)


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


def notes(*assignments: str) -> str:
    """Return what Helm says after an install."""
    given = [part for assignment in assignments for part in ("--set", assignment)]
    done = helm("install", "g", CHART, "--dry-run=client", "--namespace", "chat", *given)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]


def test_the_notes_tell_how_to_ask() -> None:
    assert "/v1/chat/completions" in notes()
    assert "helm -n chat test g" in notes()
    assert "WARNING" not in notes()


@pytest.mark.parametrize("keys", ["discovery=true", "jwks_url=https://id.example.org/keys"])
def test_the_notes_warn_of_issuers_whose_keys_no_gateway_can_get(keys: str) -> None:
    issuer = ["name=id", "issuer=https://id.example.org", "audiences={chat}", "algorithms={RS256}"]
    given = [f"settings.auth.issuers[0].{each}" for each in (*issuer, keys)]
    assert "WARNING: networkPolicy.gatewayInternet is false" in notes(*given)
    for way in (
        "networkPolicy.gatewayInternet=true",
        "networkPolicy.enabled=false",
        "networkPolicy.gatewayExtraEgress[0].ports[0].port=443",
    ):
        assert "gatewayInternet" not in notes(*given, way)
    assert "gatewayInternet" not in notes(*given[:-1], "settings.auth.issuers[0].jwks_file=/keys.json")
