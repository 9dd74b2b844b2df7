"""The schema itself: described, frozen, strict, and true to the files that ship with it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from config import Settings, load_settings
from config.load import setting_paths
from config.schema import EngineProfile

ROOTS = [
    *(
        "server",
        "engine",
        "redis",
        "auth",
        "limits",
        "sessions",
        "responses",
        "routing",
        "prompt",
        "stream",
        "telemetry",
    ),
    "data_dir",
]
CONFIG = Path(str(resources.files("config")))


def field_at(path: tuple[str, ...]) -> FieldInfo:
    """Return the declaration of a setting."""
    model: type[BaseModel] = Settings
    for name in path[:-1]:
        kind = model.model_fields[name].annotation
        assert isinstance(kind, type)
        assert issubclass(kind, BaseModel)
        model = kind
    return model.model_fields[path[-1]]


def groups() -> list[type[BaseModel]]:
    """Return the schema and its groups."""
    kinds = [field.annotation for field in Settings.model_fields.values()]
    return [Settings, *(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))]


def test_the_roots_are_the_published_ones() -> None:
    assert list(Settings.model_fields) == ROOTS


@pytest.mark.parametrize("path", list(setting_paths()), ids=".".join)
def test_every_setting_is_described_in_one_sentence(path: tuple[str, ...]) -> None:
    description = field_at(path).description
    assert description
    assert description.endswith(".")
    assert len(description) <= 120


@pytest.mark.parametrize("path", list(setting_paths()), ids=".".join)
def test_every_setting_has_a_default(path: tuple[str, ...]) -> None:
    assert not field_at(path).is_required()


def test_the_defaults_are_valid() -> None:
    Settings()


@pytest.mark.parametrize("group", groups(), ids=lambda group: group.__name__)
def test_every_group_is_frozen_and_refuses_unknown_keys(group: type[BaseModel]) -> None:
    assert group.model_config["frozen"] is True
    assert group.model_config["extra"] == "forbid"
    assert group.__doc__


def test_settings_cannot_be_changed_after_they_were_read() -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.server.port = 1  # type: ignore[misc]
    with pytest.raises(ValidationError):
        settings.server = settings.server  # type: ignore[misc]


@pytest.mark.parametrize("name", [profile.value for profile in EngineProfile if profile is not EngineProfile.AUTO])
def test_every_profile_has_a_file_and_loads(name: str, tmp_path: Path) -> None:
    settings = load_settings({"engine": {"profile": name}}, environ={}, env_file=tmp_path / "none")
    assert settings.engine.profile == name


def test_every_profile_file_belongs_to_a_profile() -> None:
    assert {path.stem for path in (CONFIG / "profiles").iterdir()} == set(EngineProfile) - {"auto"}


SETTINGS_FILES = sorted(set(CONFIG.glob("*.yaml")) - {CONFIG / "tenants.yaml"})
"""The file of tenants is of another form, and has tests of its own."""


@pytest.mark.parametrize("path", SETTINGS_FILES, ids=lambda path: path.name)
def test_every_settings_file_that_ships_loads(path: Path, tmp_path: Path) -> None:
    settings = load_settings(config_file=path, environ={}, env_file=tmp_path / "none")
    for group, values in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        for key, value in values.items():
            assert getattr(getattr(settings, group), key) == value


@pytest.mark.parametrize(
    ("group", "key", "value"),
    [
        ("server", "port", -1),
        ("server", "port", 65_536),
        ("server", "max_body_bytes", 0),
        ("server", "body_timeout_seconds", 0),
        ("engine", "gpu_memory_utilization", 1.5),
        ("engine", "max_num_seqs", 0),
        ("redis", "timeout_seconds", 0),
        ("auth", "mode", "maybe"),
        ("auth", "jwt_leeway_seconds", -1),
        ("limits", "requests_per_minute", -1),
        ("sessions", "ttl_seconds", 0),
        ("routing", "max_attempts", 0),
        ("routing", "queue_seconds", -1),
        ("prompt", "default_temperature", 2.1),
        ("prompt", "default_top_p", 0),
        ("stream", "ping_seconds", 0),
        ("stream", "ping_seconds", float("nan")),
        ("stream", "total_timeout_seconds", float("inf")),
        ("routing", "queue_seconds", float("inf")),
        ("telemetry", "log_level", "loud"),
    ],
)
def test_a_value_out_of_bounds_is_refused(group: str, key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({group: {key: value}})
