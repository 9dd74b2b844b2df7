"""The file of tenants: what it may say, and that a wrong one is refused as a whole, saying where."""

from __future__ import annotations

from pathlib import Path

import pytest

from config import SettingsError
from config.tenants import TenantsFile, read_tenants

EXAMPLE = Path(__file__).parents[3] / "config/tenants.yaml"


def read(folder: Path, text: str | bytes) -> TenantsFile:
    """Read a file with this text."""
    path = folder / "tenants.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_tenants(path)


def test_the_example_has_the_tutorials_limits() -> None:
    tenants = read_tenants(EXAMPLE)
    assert tenants.default_tier == "standard"
    user = tenants.tiers["standard"].user
    assert (user.requests_per_minute, user.requests_per_hour) == (60, 1000)
    user = tenants.tiers["production"].user
    assert (user.requests_per_minute, user.requests_per_hour) == (30, 500)
    assert tenants.tenants["acme"].tier == "production"


@pytest.mark.parametrize("text", ["{}", "# nothing\n{}", "tiers: {}\ntenants: {}"])
def test_a_file_may_say_that_there_are_no_tenants(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == TenantsFile()


def test_what_is_left_out_of_a_tier_is_no_limit(tmp_path: Path) -> None:
    tier = read(tmp_path, "tiers: {a: {user: {requests_per_minute: 5}}}").tiers["a"]
    assert tier.user.model_dump() == {
        "requests_per_minute": 5, "requests_per_hour": 0, "tokens_per_minute": 0, "tokens_per_day": 0,
        "concurrent_requests": 0,
    }  # fmt: skip
    assert set(tier.tenant.model_dump().values()) == set(tier.tenant_model.model_dump().values()) == {0}
    assert (tier.priority, tier.weight) == (0, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("---\n", "is empty"),
        ("default_tier: a", "default_tier: there is no tier 'a'"),
        ("tenants: {acme: {tier: a}}", "tenants.acme.tier: there is no tier 'a'"),
        ("tiers: {a: {user: {requests_per_minute: -1}}}", "tiers.a.user.requests_per_minute"),
        ("tiers: {a: {user: {requests_per_minute: many}}}", "tiers.a.user.requests_per_minute"),
        ("tiers: {a: {user: {requests_per_day: 1}}}", "tiers.a.user.requests_per_day: no such setting"),
        ("tiers: {a: {weight: 0}}", "tiers.a.weight"),
        ("tiers: {a: {color: red}}", "tiers.a.color: no such setting"),
        ("tenants: {'a{b': {}}", "tenants.a{b"),
        ("tenants: {'': {}}", "tenants."),
        ("tenants: {acme: {models: 5}}", "tenants.acme.models"),
        ("tenant: {acme: {}}", "tenant: no such setting"),
        ("- a", "dictionary"),
        ("tenants: {acme: {}, acme: {suspended: true}}", "a key stands twice in line 1"),
        ("tiers: {a: {}}\ntenants: {}\ntiers: {}", "a key stands twice in line 3"),
        ("tiers: [", "cannot be read"),
        ("? [a, b]\n: c", "cannot be read"),
        ("tiers: !!python/object/apply:os.system [id]", "cannot be read"),
        (b"\xff\xfe\xfa", "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused_saying_where(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, "tiers: {a: {weight: 0, priority: high}}\nmore: 1")
    assert len(caught.value.problems) == 3


def test_a_file_that_is_not_there_or_endless_is_refused(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none.yaml", "cannot be read"), (Path("/dev/zero"), "is larger than")):
        with pytest.raises(SettingsError, match=said):
            read_tenants(path)
