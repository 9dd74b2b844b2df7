"""Which secrets there are, who reads them, and where they must not be."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from tests.helm.chart import container, render, variables

PRODUCTION = Path(__file__).parent / "values" / "production.yaml"


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


def test_the_password_of_redis_is_no_part_of_a_url_that_it_could_break() -> None:
    given = variables(render("auth.existingSecret=mine").one("Deployment", "gateway")["spec"]["template"])
    assert given["GEMMA_REDIS__URL"]["value"] == "redis://g-gemma-gateway-redis:6379/0"
    password = given["GEMMA_REDIS__PASSWORD"]["valueFrom"]["secretKeyRef"]
    assert password == {"name": "mine", "key": "redis-password"}


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
