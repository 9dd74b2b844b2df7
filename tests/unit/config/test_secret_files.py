"""Secrets may be in files, as Docker and Kubernetes mount them."""

from __future__ import annotations

from pathlib import Path

import pytest

from config import Settings
from config.load import SettingsError, is_secret, load_settings, setting_paths, variables_of
from gateway.flags import variables_of as variables_of_flags

SECRET = "a secret of at least thirty-two bytes"


def load(tmp_path: Path, environ: dict[str, str], dotenv: str = "") -> Settings:
    """Load from these, and nothing of this machine."""
    (tmp_path / ".env").write_text(dotenv, encoding="utf-8")
    return load_settings(environ=environ, env_file=tmp_path / ".env")


def problems(tmp_path: Path, environ: dict[str, str], dotenv: str = "") -> list[str]:
    """Return what is wrong with these."""
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, environ, dotenv)
    return caught.value.problems


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A secret as an editor leaves it."""
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_value_is_what_the_file_holds_but_for_its_last_line_break(tmp_path: Path, end: str) -> None:
    (tmp_path / "secret").write_bytes(f" {SECRET} {end}".encode())
    settings = load(tmp_path, {"GEMMA_AUTH__JWT_SECRET_FILE": str(tmp_path / "secret")})
    assert settings.auth.jwt_secret.get_secret_value() == f" {SECRET} "


def test_the_short_names_have_files_too_and_so_has_a_dotenv_file(tmp_path: Path, file: str) -> None:
    settings = load(tmp_path, {"HF_TOKEN_FILE": file}, f"GATEWAY_API_KEY_FILE={file}\n")
    assert settings.engine.hf_token.get_secret_value() == settings.auth.api_key.get_secret_value() == SECRET


def test_every_secret_and_nothing_else_may_be_in_a_file(tmp_path: Path, file: str) -> None:
    secrets = {".".join(path) for path in setting_paths() if is_secret(path)}
    assert secrets >= {"redis.url", "auth.api_key", "auth.jwt_secret", "sessions.encryption_keys", "engine.hf_token"}
    known = {variables_of(path)[0] for path in setting_paths()}
    for path in setting_paths():
        name = f"{variables_of(path)[0]}_FILE"
        assert not (is_secret(path) and name in known)
        if not is_secret(path) and name not in known:
            assert problems(tmp_path, {name: file}) == [f"{name}: no such setting (from the environment)"]


@pytest.mark.parametrize(
    ("environ", "dotenv"),
    [
        ({"GEMMA_AUTH__API_KEY": "a", "GEMMA_AUTH__API_KEY_FILE": "f"}, ""),
        ({"GATEWAY_API_KEY": "a", "GEMMA_AUTH__API_KEY_FILE": "f"}, ""),
        ({"GATEWAY_API_KEY_FILE": "f"}, "GEMMA_AUTH__API_KEY=a\n"),
    ],
)
def test_a_secret_that_is_given_twice_is_refused(
    tmp_path: Path, file: str, environ: dict[str, str], dotenv: str
) -> None:
    environ = {name: file if value == "f" else value for name, value in environ.items()}
    (problem,) = problems(tmp_path, environ, dotenv)
    assert "is given too, and only one of them may be" in problem
    assert "_FILE" in problem


def test_an_empty_variable_is_none_beside_a_file(tmp_path: Path, file: str) -> None:
    assert load(tmp_path, {"HF_TOKEN": "", "HF_TOKEN_FILE": file}).engine.hf_token.get_secret_value() == SECRET
    assert load(tmp_path, {"HF_TOKEN": "hf_x", "HF_TOKEN_FILE": ""}).engine.hf_token.get_secret_value() == "hf_x"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "cannot be read: No such file"), (b"", "is empty"), (b"\n", "is empty"), (b"\xff", "not UTF-8"),
     (b"x" * 65_537, "larger than any secret")],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_named_by_its_variable_alone(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / SECRET
    if content is not None:
        path.write_bytes(content)
    (problem,) = problems(tmp_path, {"GEMMA_SESSIONS__ENCRYPTION_KEYS_FILE": str(path)})
    assert problem.startswith("GEMMA_SESSIONS__ENCRYPTION_KEYS_FILE: the file ")
    assert reason in problem
    assert SECRET not in problem


def test_a_flag_overrules_a_file_for_children_too(tmp_path: Path, file: str) -> None:
    said_by_flags = variables_of_flags([("auth.api_key", "gg_flag"), ("server.port", "0")])
    settings = load(tmp_path, {"GATEWAY_API_KEY_FILE": file, **said_by_flags})
    assert settings.auth.api_key.get_secret_value() == "gg_flag"
