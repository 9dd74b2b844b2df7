import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import cast

import jwt
import pytest

from config import AuthSettings, Settings
from gateway import __version__
from gateway.cli import main
from gateway.identity.issuers import Issuers
from gateway.identity.own_tokens import own_secret

SECRET = "a secret of at least thirty-two bytes"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the developer's own reaches a test."""
    for name in [name for name in os.environ if name.startswith("GEMMA_") or name in ("PORT", "GATEWAY_API_KEY")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_every_problem_is_a_line_of_its_own_and_the_exit_code_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--set", "nonsense", "--set", "no.such=1", "--port", "99999", "--profile", "best"]
    assert main(["check", *flags]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines() == [
        "--set nonsense: must be GROUP.KEY=VALUE",
        "server.port: Input should be less than or equal to 65535",
        "engine.profile: Input should be 'auto', 'gpu', 'cpu' or 'demo'",
        "no: no such setting",
    ]


def test_settings_that_do_not_fit_together_are_found_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--set", "auth.mode=off", "--set", "server.host=0.0.0.0", "--port", "8100"]) == 1
    assert [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()] == ["auth.mode", "engine.port"]


def test_a_wrong_file_of_tenants_is_found_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "tenants.yaml").write_text("default_tier: gold")
    assert main(["check", "--set", "auth.tenants_file=tenants.yaml"]) == 1
    assert capsys.readouterr().err == "tenants.yaml: settings: Value error, default_tier: there is no tier 'gold'\n"


def test_check_says_ok_and_what_would_run_without_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    secrets = ["auth.api_key=hunter2", f"auth.jwt_secret={SECRET}", "redis.url=rediss://u:hunter2@db:6380/1?x=hunter2"]
    assert main(["check", *[flag for secret in secrets for flag in ("--set", secret)], "--data-dir", "/data"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("ok\n")
    assert "rediss://db:6380/1\n" in output
    assert "API keys, GATEWAY_API_KEY, JWT" in output
    assert "hunter2" not in output
    assert SECRET not in output


def test_flags_win_over_the_file_and_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "gateway.yaml").write_text("server: {host: 10.0.0.1, port: 1}\n")
    monkeypatch.setenv("GEMMA_SERVER__PORT", "2")
    main(["check", "--config", "gateway.yaml"])
    assert "http://10.0.0.1:2," in capsys.readouterr().out
    main(["check", "--config", "gateway.yaml", "--port", "3"])
    assert "http://10.0.0.1:3," in capsys.readouterr().out


def test_children_are_told_by_variables_what_the_flags_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda path, argv, environ: ran.append((argv, environ)))
    monkeypatch.setenv("GEMMA_SERVER__PORT", "2")
    main(["engine", "--config", "a.yaml", "--port", "3", "--set", "engine.dtype=float32", "--exec"])
    argv, environ = ran[0]
    assert argv == [sys.executable, "-m", "engine", "--exec"]
    assert environ["GEMMA_CONFIG"] == str(tmp_path / "a.yaml")
    assert (environ["GEMMA_SERVER__PORT"], environ["GEMMA_ENGINE__DTYPE"]) == ("3", "float32")


def test_no_command_means_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    ports: list[int] = []

    class Server:
        @staticmethod
        def run(settings: Settings, _: object) -> int:
            ports.append(settings.server.port)
            return 7

    monkeypatch.setitem(sys.modules, "gateway.server", cast(ModuleType, Server))
    monkeypatch.setenv("GEMMA_REDIS__URL", "redis://db")
    assert main(["--port", "4711"]) == 7
    assert main(["gateway", "--port", "4712"]) == 7
    assert ports == [4711, 4712]


def test_a_gateway_alone_needs_a_redis(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    assert capsys.readouterr().err.startswith("redis.url: must be set for a gateway alone")


def test_a_flag_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["serve", "--verbos"])
    assert "unknown: --verbos" in capsys.readouterr().err


def test_a_token_has_the_claims_that_were_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--user", "ann", "--tenant", "acme", "--scope", "chat", "--scope", "admin", "--ttl", "60"]
    assert main(["token", "--set", f"auth.jwt_secret={SECRET}", *flags]) == 0
    claims = jwt.decode(
        capsys.readouterr().out.strip(), SECRET, ["HS256"], issuer="gemma-gateway", audience="gemma-gateway"
    )
    assert (claims["sub"], claims["tenant"], claims["scope"]) == ("ann", "acme", "admin chat")
    assert claims["exp"] - claims["iat"] == 60
    assert abs(claims["iat"] - time.time()) < 60
    assert len(claims["jti"]) == 32


def test_a_token_that_the_gateway_would_refuse_is_not_minted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--user", "", "--tenant", "{a}", "--ttl", "0"]) == 1
    names = [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()]
    assert names == ["--user", "--tenant", "--ttl"]


def test_without_a_secret_a_token_is_signed_by_what_the_local_key_gives(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["token", "--data-dir", str(tmp_path / "data"), "--tier", "gold"]) == 0
    key = (tmp_path / "data" / "key").read_text().strip()
    issuers = Issuers(AuthSettings(), own_secret(AuthSettings(), key))
    principal = issuers.check(capsys.readouterr().out.strip())
    assert (principal.tenant, principal.user, principal.tier) == ("local", "local", "gold")


def test_an_issuer_without_its_key_file_is_found_before_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    issuer = {"name": "corp", "issuer": "i", "audiences": ["a"], "algorithms": ["RS256"], "pem_file": "none.pem"}
    assert main(["check", "--set", f"auth.issuers={json.dumps([issuer])}"]) == 1
    assert "auth.issuers: corp: none.pem cannot be read" in capsys.readouterr().err


def test_a_data_folder_that_cannot_be_used_is_a_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert main(["serve", "--data-dir", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err == f"The data folder {tmp_path / 'file'} cannot be used: File exists.\n"


def test_it_runs_as_a_module() -> None:
    ran = subprocess.run([sys.executable, "-m", "gateway", "version"], capture_output=True, text=True, check=True)
    assert ran.stdout == f"{__version__}\n"
