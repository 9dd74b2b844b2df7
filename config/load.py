"""Read the settings: profile < YAML < `.env` < environment < flags, and say everything that is wrong at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from itertools import chain
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as _SourceError

from config.schema import EngineProfile, Settings
from config.secret_files import check_given_once, with_files_read

PREFIX = "GEMMA_"
CONFIG_VARIABLE = "GEMMA_CONFIG"
ALIASES = {
    "PORT": ("server", "port"),
    "GATEWAY_API_KEY": ("auth", "api_key"),
    "HF_TOKEN": ("engine", "hf_token"),
}
# Kubernetes describes each Service of a namespace in variables of every pod; a Service called `gemma-…` is not a typo.
_KUBERNETES = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_.*)?$|_PORT$|_PORT_\d+_.*$")

Tree = dict[str, Any]


class SettingsError(Exception):
    """The settings cannot be used. `problems` has one sentence for each thing that is wrong, none of them a secret."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class _Environment(BaseSettings, Settings):
    """The schema as pydantic-settings wants it, so that its parsing of nested variables is used and not rewritten."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)


def load_settings(
    flags: Mapping[str, Any] | None = None,
    config_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    env_file: Path | None = None,
) -> Settings:
    """Return the settings of all sources together, later ones winning key by key.

    `flags` is a nested mapping such as `{"server": {"port": 0}}`. `config_file` falls back to `GEMMA_CONFIG`,
    `env_file` to `.env` in the working directory. Raises SettingsError with every problem found.
    """
    variables = dict(os.environ if environ is None else environ)
    env_file = Path(".env") if env_file is None else env_file
    problems: list[str] = []
    dotenv = _dotenv_variables(env_file, problems)
    yaml_name = config_file or variables.get(CONFIG_VARIABLE) or dotenv.get(CONFIG_VARIABLE)
    check_given_once({**dotenv, **variables}, secret_variables().values(), problems)
    layers = [
        _read_yaml(Path(yaml_name), problems) if yaml_name else {},
        _from_variables(dotenv, str(env_file), problems),
        _from_variables(variables, "the environment", problems),
        cast(Tree, dict(flags or {})),
    ]
    tree = _with_profile(_merge_all(layers))
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        problems += sentences_of(error)
    if problems:
        raise SettingsError(problems)
    return settings


def gpu_present() -> bool:
    """Whether a CUDA GPU is visible to this machine, asked of the driver's device files so that nothing is imported."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


def setting_paths(model: type[BaseModel] = Settings, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every setting, such as `("server", "port")`, in the schema's order."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from setting_paths(kind, (*prefix, name))
        else:
            yield (*prefix, name)


def is_secret(path: tuple[str, ...]) -> bool:
    """Whether a setting is never shown."""
    model: type[BaseModel] = Settings
    *groups, name = path
    for group in groups:
        model = cast("type[BaseModel]", model.model_fields[group].annotation)
    return model.model_fields[name].annotation is SecretStr


def variables_of(path: tuple[str, ...]) -> tuple[str, ...]:
    """Return the environment variables that give a setting: its own, and an alias."""
    return (PREFIX + "__".join(path).upper(), *(name for name, target in ALIASES.items() if target == path))


def secret_variables() -> dict[str, tuple[str, ...]]:
    """Return the environment variables of each setting that is a secret, by its name such as `auth.api_key`."""
    return {".".join(path): variables_of(path) for path in setting_paths() if is_secret(path)}


def _read_yaml(path: Path, problems: list[str]) -> Tree:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        problems.append(f"{path}: cannot be read: {yaml_reason(error)}")
        return {}
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        problems.append(f"{path}: must be a mapping of settings, not a {type(tree).__name__}")
        return {}
    return tree


def yaml_reason(error: Exception) -> str:
    """What is wrong with a file. PyYAML's own message quotes the line, which may hold a secret."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return str(error)
    where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
    return re.sub(r"'.*'", "…", error.problem or "not YAML") + where


def _dotenv_variables(path: Path, problems: list[str]) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        values = DotEnvSettingsSource(_Environment, env_file=path, case_sensitive=True).env_vars
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path}: cannot be read: {error}")
        return {}
    return {name: value for name, value in values.items() if value is not None}


def _from_variables(variables: Mapping[str, str], source: str, problems: list[str]) -> Tree:
    variables = with_files_read(variables, chain(*secret_variables().values()), problems)
    known = {PREFIX + "__".join(path).upper() for path in setting_paths()} | {CONFIG_VARIABLE}
    problems += [
        f"{name}: no such setting (from {source})"
        for name in sorted(variables)
        if name.startswith(PREFIX) and name not in known and not _KUBERNETES.search(name)
    ]
    ours = {name.lower(): value for name, value in variables.items() if name in known and name != CONFIG_VARIABLE}
    tree: Tree = {}
    for alias, (group, key) in ALIASES.items():
        if variables.get(alias):
            tree.setdefault(group, {})[key] = variables[alias]
    return _merge(tree, _parse_nested(ours, source, problems))


def _parse_nested(variables: Mapping[str, str], source: str, problems: list[str]) -> Tree:
    reader = EnvSettingsSource(_Environment)
    reader.env_vars = dict(variables)
    try:
        return reader()
    except _SourceError as error:
        problems.append(f"{source}: {error}")
        return {}


def _with_profile(tree: Tree) -> Tree:
    """Return `tree` over the YAML of the profile that it chooses; `auto` is decided here, once."""
    engine = tree.get("engine", {})
    if not isinstance(engine, dict):
        return tree
    chosen = engine.get("profile", EngineProfile.AUTO)
    if chosen == EngineProfile.AUTO:
        chosen = EngineProfile.GPU if gpu_present() else EngineProfile.DEMO
    if chosen not in list(EngineProfile):
        return tree
    text = resources.files("config").joinpath(f"profiles/{chosen}.yaml").read_text(encoding="utf-8")
    return _merge_all([cast(Tree, yaml.safe_load(text)), tree, {"engine": {"profile": chosen}}])


def _merge_all(layers: list[Tree]) -> Tree:
    merged: Tree = {}
    for layer in layers:
        merged = _merge(merged, layer)
    return merged


def _merge(low: Tree, high: Tree) -> Tree:
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def sentences_of(error: ValidationError) -> list[str]:
    """One sentence a problem, never with the value given: it may be a secret."""
    found = []
    for item in error.errors(include_input=False, include_url=False):
        name = ".".join(str(part) for part in item["loc"]) or "settings"
        message = "no such setting" if item["type"] == "extra_forbidden" else item["msg"]
        found.append(f"{name}: {message}")
    return found
