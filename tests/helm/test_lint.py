"""Helm 4 and Helm 3 take the chart, and both refuse what cannot work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helm.chart import CHART, HELMS, VALUES, Object, Rendered, helm, refusal, render

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REFUSED = {
    "replicaz=3": "'replicaz' not allowed",
    "profile=big": "at '/profile'",
    "gateway.replicas=many": "got string, want integer",
    "settings.nothing.at_all=1": "'nothing' not allowed",
    "settings.limits.requests_per_minut=1": "'requests_per_minut' not allowed",
    "settings.limits.requests_per_minute=-1": "at '/settings/limits/requests_per_minute'",
    "settings.auth.api_key=gg_secret": "'api_key' not allowed",
    "settings.redis.url=redis://elsewhere": "'url' not allowed",
    "settings.auth.issuers[0].secret=hs256": "'secret' not allowed",
    "settings.sessions.encryption_keys=x": "'encryption_keys' not allowed",
    "settings.server.port=9000": "'port' not allowed",
    "gateway.image.digest=sha256:short": "at '/gateway/image/digest'",
    "gateway.image.tag=latest": "`latest` is another image tomorrow",
    "settings.redis.sentinels={a:26379}": "the chart's own Redis has none",
    "redis.enabled=false": "externalRedis.existingSecret",
    "engine.enabled=false": "engine.externalUrls",
    "engine.externalUrls={http://10.0.0.1:8100}": "set engine.enabled to false",
    "gateway.terminationGracePeriodSeconds=30": "gateway.terminationGracePeriodSeconds: must be above",
    "engine.terminationGracePeriodSeconds=30": "engine.terminationGracePeriodSeconds: must be above",
    "gateway.podDisruptionBudget.minAvailable=2": "no node could ever be drained",
    "engine.replicas=2,engine.modelCache.existingClaim=weights": "one claim for several engines",
    "engine.modelCache.accessMode=ReadOnlyMany": "engine.offline: must be true",
    "engine.modelCache.download=true": "pin the model by settings.engine.revision",
    "engine.modelCache.download=true,settings.engine.revision=main": "a commit of 40 hexadecimal digits",
    f"engine.modelCache.download=true,engine.offline=true,settings.engine.revision={COMMIT}": "nothing can be",
    f"engine.modelCache.download=true,settings.engine.revision={COMMIT},settings.engine.model=/m": "is a folder",
    "settings.engine.extra_args={--tensor-parallel-size=4}": "needs as many GPUs",
    "gateway.autoscaling.enabled=true,gateway.autoscaling.minReplicas=20": "must not be above maxReplicas",
    "engine.autoscaling.enabled=true,engine.autoscaling.minReplicas=0": "at '/engine/autoscaling/minReplicas'",
    "engine.offline=true,settings.prompt.media_hosts={images.example.org}": "networkPolicy.engineExtraEgress",
    "networkPolicy.engineInternet=false,settings.prompt.media_hosts={a.example}": "networkPolicy.engineExtraEgress",
    "engine.gpu.count=0": "at '/engine/gpu/count'",
    "gateway.extraEnv[0].name=GATEWAY_API_KEY,gateway.extraEnv[0].value=k": "give it by valueFrom.secretKeyRef",
    "engine.extraEnv[0].name=HF_TOKEN,engine.extraEnv[0].value=hf_1": "give it by valueFrom.secretKeyRef",
    "huggingFace.token=hf_1": "'token' not allowed",
    "externalRedis.url=redis://:p@h": "'url' not allowed",
    "engine.rollout.maxUnavailable=0": "at '/engine/rollout/maxUnavailable'",
    "ingress.enabled=true": "ingress.hosts",
    "httpRoute.enabled=true": "httpRoute.parentRefs",
}


@pytest.mark.parametrize("version", HELMS)
@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_chart_is_clean(values: Path, version: str) -> None:
    done = helm("lint", "--strict", CHART, "--values", values, version=version)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_both_versions_render_the_same(values: Path) -> None:
    four, three = (
        {(each["kind"], each["metadata"]["name"]): each for each in without_the_random(render(values, version=version))}
        for version in HELMS
    )
    assert four == three


def without_the_random(rendered: Rendered) -> list[Object]:
    """Return the objects without what is new each time: a Secret's contents, and its sums at the pods."""
    for _, template in rendered.pods():
        template["metadata"].get("annotations", {}).pop("checksum/secret", None)
    for each in rendered.of("Secret"):
        assert all(each.pop("data").values())
    return rendered.objects


@pytest.mark.parametrize("version", HELMS)
@pytest.mark.parametrize(("assignment", "words"), REFUSED.items(), ids=REFUSED)
def test_what_cannot_work_is_refused_in_words(assignment: str, words: str, version: str) -> None:
    assert words in refusal(assignment, version=version)
