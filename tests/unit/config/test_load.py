"""Where settings come from, which source wins, and how everything that is wrong is said at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from config import Settings, SettingsError, load_settings
from config.load import setting_paths
from config.schema import EngineProfile

SECRET = "hunter2-and-more"


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` must mean the same on every machine that runs the tests."""
    monkeypatch.setattr("config.load.gpu_present", lambda: False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, so that no `.env` but the test's own is read."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(
    folder: Path,
    environ: dict[str, str] | None = None,
    flags: dict[str, Any] | None = None,
    yaml: str | None = None,
    dotenv: str | None = None,
) -> Settings:
    """Load from these sources and no others."""
    config_file = folder / "given.yaml" if yaml is not None else None
    if config_file is not None:
        config_file.write_text(yaml or "", encoding="utf-8")
    if dotenv is not None:
        (folder / ".env").write_text(dotenv, encoding="utf-8")
    return load_settings(flags, config_file, environ or {})


def problems(folder: Path, **sources: Any) -> list[str]:
    """Return what is wrong with these sources."""
    with pytest.raises(SettingsError) as caught:
        load(folder, **sources)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_without_any_source_the_defaults_of_the_demo_profile_hold(folder: Path) -> None:
    settings = load(folder)
    assert settings.server.port == 8000
    assert settings.engine.profile is EngineProfile.DEMO
    assert settings.engine.served_model_name == "gemma-3n-demo"


@pytest.mark.parametrize(
    ("sources", "port"),
    [
        ({"yaml": "server: {port: 1}"}, 1),
        ({"yaml": "server: {port: 1}", "dotenv": "GEMMA_SERVER__PORT=2"}, 2),
        ({"dotenv": "GEMMA_SERVER__PORT=2", "environ": {"GEMMA_SERVER__PORT": "3"}}, 3),
        ({"environ": {"GEMMA_SERVER__PORT": "3"}, "flags": {"server": {"port": "4"}}}, 4),
        ({"yaml": "server: {port: 1}", "flags": {"server": {"port": 4}}}, 4),
        ({"environ": {"PORT": "5"}}, 5),
        ({"environ": {"PORT": "5", "GEMMA_SERVER__PORT": "6"}}, 6),
        ({"dotenv": "PORT=5"}, 5),
        ({"dotenv": "GEMMA_SERVER__PORT=2", "environ": {"PORT": "5"}}, 5),
        ({"yaml": "server: {port: 1}", "environ": {"PORT": ""}}, 1),
    ],
)
def test_a_later_source_wins(folder: Path, sources: dict[str, Any], port: int) -> None:
    assert load(folder, **sources).server.port == port


def test_sources_are_merged_key_by_key_and_not_group_by_group(folder: Path) -> None:
    settings = load(
        folder,
        yaml="server: {port: 1, host: 10.0.0.1}\nlimits: {requests_per_minute: 7}",
        environ={"GEMMA_SERVER__PORT": "2"},
        flags={"server": {"max_body_bytes": 2048}},
    )
    assert (settings.server.port, settings.server.host, settings.server.max_body_bytes) == (2, "10.0.0.1", 2048)
    assert settings.limits.requests_per_minute == 7


def test_a_profile_is_the_lowest_source(folder: Path) -> None:
    settings = load(folder, environ={"GEMMA_ENGINE__PROFILE": "cpu", "GEMMA_ENGINE__MAX_NUM_SEQS": "3"})
    assert settings.engine.model == "google/gemma-3n-E2B-it"
    assert settings.engine.max_num_seqs == 3


@pytest.mark.parametrize(("gpu", "profile"), [(True, EngineProfile.GPU), (False, EngineProfile.DEMO)])
def test_auto_is_decided_by_whether_there_is_a_gpu(
    folder: Path, monkeypatch: pytest.MonkeyPatch, gpu: bool, profile: EngineProfile
) -> None:
    monkeypatch.setattr("config.load.gpu_present", lambda: gpu)
    assert load(folder).engine.profile is profile
    assert load(folder, flags={"engine": {"profile": "auto"}}).engine.profile is profile


def test_the_callers_flags_are_not_changed(folder: Path) -> None:
    flags = {"engine": {"profile": "auto", "max_num_seqs": 3}}
    load(folder, flags=flags)
    assert flags == {"engine": {"profile": "auto", "max_num_seqs": 3}}


def test_an_unknown_profile_is_a_problem_and_not_a_file_that_is_missing(folder: Path) -> None:
    (problem,) = problems(folder, flags={"engine": {"profile": "../../etc/passwd"}})
    assert problem.startswith("engine.profile: ")


def test_the_yaml_file_is_found_through_its_variable(folder: Path) -> None:
    (folder / "other.yaml").write_text("server: {port: 9}", encoding="utf-8")
    assert load_settings(environ={"GEMMA_CONFIG": str(folder / "other.yaml")}).server.port == 9


def test_the_yaml_file_is_found_through_its_variable_in_dotenv(folder: Path) -> None:
    (folder / "other.yaml").write_text("server: {port: 9}", encoding="utf-8")
    assert load(folder, dotenv=f"GEMMA_CONFIG={folder / 'other.yaml'}").server.port == 9


def test_a_given_yaml_file_wins_over_its_variable(folder: Path) -> None:
    (folder / "other.yaml").write_text("server: {port: 9}", encoding="utf-8")
    assert load(folder, yaml="server: {port: 8}", environ={"GEMMA_CONFIG": str(folder / "other.yaml")}).server.port == 8


@pytest.mark.parametrize(
    ("alias", "value", "path"),
    [
        ("GATEWAY_API_KEY", SECRET, ("auth", "api_key")),
        ("HF_TOKEN", SECRET, ("engine", "hf_token")),
    ],
)
def test_a_short_alias_sets_its_setting(folder: Path, alias: str, value: str, path: tuple[str, str]) -> None:
    group, key = path
    secret = getattr(getattr(load(folder, environ={alias: value}), group), key)
    assert secret.get_secret_value() == value


def test_the_data_folder_has_a_variable_of_its_own(folder: Path) -> None:
    assert load(folder, environ={"GEMMA_DATA_DIR": "/srv/gg"}).data_dir == Path("/srv/gg")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://a:1", ("http://a:1",)),
        ("http://a:1,http://b:2", ("http://a:1", "http://b:2")),
        (" http://a:1 , ,http://b:2, ", ("http://a:1", "http://b:2")),
        ("", ()),
    ],
)
def test_a_list_is_written_with_commas_in_a_variable(folder: Path, text: str, words: tuple[str, ...]) -> None:
    assert load(folder, environ={"GEMMA_ROUTING__ENGINES": text}).routing.engines == words


def test_a_list_is_a_list_in_yaml(folder: Path) -> None:
    assert load(folder, yaml="routing: {engines: ['http://a:1', 'http://b:2']}").routing.engines == (
        "http://a:1",
        "http://b:2",
    )


def test_a_mapping_is_written_as_json_in_a_variable_and_in_a_flag(folder: Path) -> None:
    text = '{"gpt-4o-mini": "gemma-3n"}'
    aliases = {"gpt-4o-mini": "gemma-3n"}
    assert load(folder, environ={"GEMMA_PROMPT__MODEL_ALIASES": text}).prompt.model_aliases == aliases
    assert load(folder, flags={"prompt": {"model_aliases": text}}).prompt.model_aliases == aliases
    assert load(folder, yaml="prompt: {model_aliases: {gpt-4o-mini: gemma-3n}}").prompt.model_aliases == aliases
    assert "JSON" in problems(folder, environ={"GEMMA_PROMPT__MODEL_ALIASES": "gpt-4o-mini"})[0]


def test_every_setting_can_be_set_by_its_variable(folder: Path) -> None:
    """None is refused as unknown; what value fits it is another matter."""
    variables = {"GEMMA_" + "__".join(path).upper(): "?" for path in setting_paths()}
    assert len(variables) > 60
    assert not [problem for problem in problems(folder, environ=variables) if "no such setting" in problem]


def test_everything_that_is_wrong_is_said_at_once(folder: Path) -> None:
    found = problems(
        folder,
        yaml="server: {prot: 1}\nnonsense: 2",
        dotenv="GEMMA_SERVER__HOTS=x",
        environ={"GEMMA_LIMITS__REQUESTS_PER_MINUTE": "many", "GEMMA_NOTHING": "1", "GEMMA_SERVER": "{}"},
        flags={"sessions": {"max_messages": 1}},
    )
    for start in (
        "server.prot: no such setting",
        "nonsense: no such setting",
        "GEMMA_SERVER__HOTS: no such setting (from .env)",
        "limits.requests_per_minute: ",
        "GEMMA_NOTHING: no such setting (from the environment)",
        "GEMMA_SERVER: no such setting (from the environment)",
        "sessions.max_messages: ",
    ):
        assert [problem for problem in found if problem.startswith(start)], start
    assert len(found) == 7


@pytest.mark.parametrize(
    "name",
    [
        "GEMMA_GATEWAY_SERVICE_HOST",
        "GEMMA_GATEWAY_SERVICE_PORT",
        "GEMMA_GATEWAY_SERVICE_PORT_HTTP",
        "GEMMA_GATEWAY_PORT",
        "GEMMA_GATEWAY_PORT_8000_TCP",
        "GEMMA_GATEWAY_PORT_8000_TCP_ADDR",
        "GEMMA_GATEWAY_PORT_8000_TCP_PROTO",
    ],
)
def test_what_kubernetes_says_of_a_service_is_no_setting_and_no_mistake(folder: Path, name: str) -> None:
    assert load(folder, environ={name: "tcp://10.0.0.1:8000"}).server.port == 8000


@pytest.mark.parametrize("name", ["GEMMA_SERVER__PROT", "GEMMA_SERVER__PORTS", "GEMMA_SERVICE", "GEMMA_PORTAL"])
def test_a_misspelt_variable_does_not_pass_for_one_of_kubernetes(folder: Path, name: str) -> None:
    assert problems(folder, environ={name: "1"}) == [f"{name}: no such setting (from the environment)"]


def test_variables_of_other_programs_are_not_looked_at(folder: Path) -> None:
    load(folder, environ={"PATH": "/bin", "OPENAI_API_KEY": "x"}, dotenv="DATABASE_URL=postgres://x\n")


@pytest.mark.parametrize(
    "sources",
    [
        {"environ": {"GEMMA_AUTH__API_KEY": SECRET, "GEMMA_SERVER__PORT": SECRET}},
        {"environ": {"GATEWAY_API_KEY": SECRET, "PORT": SECRET}},
        {"yaml": f"auth: {{api_key: [{SECRET}]}}"},
        {"yaml": f"redis: {{url: {{{SECRET}: 1}}}}"},
        {"yaml": f"auth:\n  api_key: {SECRET}: more\n"},
        {"yaml": f"auth:\n  api_key: '{SECRET}\n"},
        {"yaml": f"auth:\n\tapi_key: {SECRET}\n"},
        {"yaml": f"auth: {{api_key: *{SECRET}}}"},
        {"yaml": f"auth: {{api_key: !{SECRET} x}}"},
        {"yaml": SECRET},
        {"flags": {"engine": {"hf_token": {"x": SECRET}}}},
        {"flags": {"server": SECRET}},
        {"environ": {"GEMMA_AUTH__MODE": SECRET}},
    ],
)
def test_a_value_never_stands_in_a_message(folder: Path, sources: dict[str, Any]) -> None:
    assert SECRET not in " ".join(problems(folder, **sources))


def test_a_secret_does_not_show_when_settings_are_printed(folder: Path) -> None:
    settings = load(folder, environ={"GATEWAY_API_KEY": SECRET, "HF_TOKEN": SECRET, "GEMMA_REDIS__URL": SECRET})
    assert SECRET not in repr(settings)
    assert SECRET not in settings.model_dump_json()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n- b", "must be a mapping of settings, not a list"),
        ("just words", "must be a mapping of settings, not a str"),
        ("server: {port: 1", "line 1"),
        ("a: &a [*a]\nb: {*a : 1}", ""),
        ("{[1, 2]: 3}", ""),
        ("1: 2", ""),
        ("server:", "server: "),
        ("server: [1]", "server: "),
        ("\x00", ""),
    ],
)
def test_yaml_of_a_wrong_shape_is_a_problem(folder: Path, text: str, said: str) -> None:
    assert said in problems(folder, yaml=text)[0]


def test_empty_yaml_says_nothing(folder: Path) -> None:
    assert load(folder, yaml="# nothing here\n").server.port == 8000


def test_a_yaml_file_that_cannot_be_read_is_named(folder: Path) -> None:
    with pytest.raises(SettingsError, match="absent\\.yaml: cannot be read"):
        load_settings(config_file=folder / "absent.yaml", environ={})


@pytest.mark.parametrize("name", ["given.yaml", ".env"])
def test_a_file_that_is_not_utf8_is_a_problem(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"GEMMA_SERVER__HOST=\xff\n")
    config_file = folder / name if name.endswith("yaml") else None
    with pytest.raises(SettingsError, match=f"{name}: cannot be read"):
        load_settings(config_file=config_file, environ={})


def test_the_process_environment_is_read_where_none_is_given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMMA_SERVER__PORT", "4321")
    assert load_settings().server.port == 4321


def test_dotenv_comments_quotes_and_export_are_understood(folder: Path) -> None:
    dotenv = "# mine\nexport GEMMA_SERVER__HOST=\"0.0.0.0\"\nGEMMA_AUTH__API_KEY='a # b'\nPORT=5 # five\n"
    settings = load(folder, dotenv=dotenv)
    assert (settings.server.host, settings.server.port) == ("0.0.0.0", 5)
    assert settings.auth.api_key.get_secret_value() == "a # b"


def test_the_example_has_the_answer_defaults_of_the_tutorial(tmp_path: Path) -> None:
    example = Path(__file__).parents[3] / "config" / "gateway.yaml"
    settings = load_settings(config_file=example, environ={}, env_file=tmp_path / "none")
    prompt, limits = settings.prompt, settings.limits
    assert (prompt.default_max_tokens, prompt.default_temperature) == (512, 0.7)
    assert (prompt.default_top_p, prompt.default_top_k) == (0.9, 40)
    assert (limits.requests_per_minute, limits.requests_per_hour) == (60, 1000)
