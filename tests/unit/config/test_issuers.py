"""Issuers in the settings: how they are given, and everything that does not fit together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from config import SettingsError, load_settings
from config.issuers import IssuerSettings, is_safe_url, problems_of_issuers

GOOD: dict[str, Any] = {
    "name": "corp",
    "issuer": "https://id.example.org",
    "audiences": ["gateway"],
    "algorithms": ["RS256"],
    "jwks_url": "https://id.example.org/keys",
}


def problems(*issuers: dict[str, Any]) -> list[str]:
    """Return what is wrong with these issuers."""
    return list(problems_of_issuers(tuple(IssuerSettings(**issuer) for issuer in issuers), "gemma-gateway"))


def test_issuers_are_given_in_yaml_or_as_json(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(json.dumps({"auth": {"issuers": [GOOD]}}))
    from_file = load_settings(config_file=tmp_path / "gateway.yaml", environ={}, env_file=tmp_path / "none")
    from_variable = load_settings(environ={"GEMMA_AUTH__ISSUERS": json.dumps([GOOD])}, env_file=tmp_path / "none")
    assert from_file.auth.issuers == from_variable.auth.issuers == (IssuerSettings(**GOOD),)
    for wrong in ("nonsense", '{"a": 1}', "[1]"):
        with pytest.raises(SettingsError, match=r"auth\.issuers"):
            load_settings(environ={"GEMMA_AUTH__ISSUERS": wrong}, env_file=tmp_path / "none")


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"jwks_url": "", "discovery": True},
        {"jwks_url": "", "pem_file": "key.pem", "algorithms": ["ES256", "EdDSA", "PS512"]},
        {"jwks_url": "", "secret": "s" * 64, "algorithms": ["HS512", "HS256"]},
        {"jwks_url": "http://127.0.0.1:9/keys"},
        {"claims": {"tenant": "org"}, "shared_tenants": ["acme"]},
    ],
)
def test_what_fits_together_is_no_problem(changed: dict[str, Any]) -> None:
    assert problems({**GOOD, **changed}) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"jwks_url": ""}, "exactly one of"),
        ({"discovery": True}, "exactly one of"),
        ({"secret": "s" * 32}, "exactly one of"),
        ({"algorithms": ["RS256", "HS256"]}, "HS256 cannot be used with public keys"),
        ({"jwks_url": "", "secret": "s" * 32}, "RS256 cannot be used with a secret"),
        ({"jwks_url": "", "secret": "s" * 31, "algorithms": ["HS256"]}, "at least 32 bytes"),
        ({"jwks_url": "", "secret": "s" * 63, "algorithms": ["HS256", "HS512"]}, "at least 64 bytes"),
        ({"jwks_url": "http://id.example.org/keys"}, "must be https://"),
        ({"jwks_url": "", "issuer": "http://id.example.org", "discovery": True}, "must be https://"),
        ({"jwks_url": "file:///etc/passwd"}, "must be https://"),
        ({"name": "built-in"}, "taken"),
        ({"name": "local"}, "taken"),
        ({"claims": {"user": ""}}, "claims.user"),
        ({"shared_tenants": ["acme"]}, "needs claims.tenant"),
        ({"claims": {"tenant": "org"}, "shared_tenants": ["a{b"]}, "braces"),
        ({"issuer": "gemma-gateway"}, "two have the issuer 'gemma-gateway'"),
    ],
)
def test_what_does_not_fit_is_a_sentence(changed: dict[str, Any], said: str) -> None:
    assert said in "\n".join(problems({**GOOD, **changed}))
    assert "sss" not in "\n".join(problems({**GOOD, **changed}))


def test_two_issuers_are_told_apart_by_name_and_by_iss() -> None:
    assert problems(GOOD, {**GOOD, "name": "other"}) == ["two have the issuer 'https://id.example.org'"]
    assert problems(GOOD, {**GOOD, "issuer": "https://other"}) == ["two have the name 'corp'"]


@pytest.mark.parametrize(
    "changed",
    [
        {"name": ""}, {"name": "a:b"}, {"name": "a b"}, {"name": "-a"}, {"name": "a" * 65}, {"name": "é"},
        {"algorithms": []}, {"algorithms": ["none"]}, {"algorithms": ["rs256"]}, {"algorithms": ["ES256K"]},
        {"algorithms": "RS256"}, {"audiences": []}, {"audiences": ""}, {"audiences": 5},
        {"issuer": ""},
        {"leeway_seconds": -1},
        {"refresh_seconds": 0},
        {"jku": "https://evil"},
        {"scopes": ["admin"]},
    ],
)  # fmt: skip
def test_what_no_issuer_can_be_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        IssuerSettings.model_validate({**GOOD, **changed})


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://id.example.org/keys", True),
        ("http://localhost:1/keys", True),
        ("http://[::1]/keys", True),
        ("http://127.0.0.1.example.org/", False),
        ("http://10.0.0.1/", False),
        ("https://", False),
        ("//id.example.org", False),
        ("", False),
    ],
)
def test_keys_are_believed_over_tls_or_from_this_machine(url: str, safe: bool) -> None:
    assert is_safe_url(url) is safe
