"""The flags that every command shares: where settings come from, and single settings set on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from config import SettingsError, load_settings
from config.load import CONFIG_VARIABLE, PREFIX, secret_variables
from config.schema import EngineProfile, Settings
from config.secret_files import SUFFIX
from config.tenants import read_tenants
from config.validate import problems_of
from gateway.identity.key_source import problems_of_key_files

Assignment = tuple[str, str]
"""A setting's dotted name and the text it is given, such as `("server.port", "8000")`."""

_SHORTHANDS = {"profile": "engine.profile", "port": "server.port", "data_dir": "data_dir"}


def add_settings_flags(parser: argparse.ArgumentParser) -> None:
    """Add `--config`, the shorthands and `--set` to `parser`."""
    group = parser.add_argument_group("settings")
    group.add_argument("--config", type=Path, metavar="FILE", help="YAML file with settings")
    group.add_argument("--profile", metavar="NAME", help=f"which model, on what: {', '.join(EngineProfile)}")
    group.add_argument("--port", metavar="N", help="port the gateway listens on; 0 takes a free one")
    group.add_argument("--data-dir", metavar="DIR", help="folder for the key, logs and Redis's files")
    group.add_argument("--set", action="append", default=[], metavar="GROUP.KEY=VALUE", help="any setting; repeatable")


def assignments_of(options: argparse.Namespace) -> list[Assignment]:
    """Return what the flags set, in order; a later one wins. Raises SettingsError."""
    found, problems = _parse(options)
    if problems:
        raise SettingsError(problems)
    return found


def read_settings(options: argparse.Namespace) -> Settings:
    """Return the settings of all sources under the flags. Raises SettingsError with every field that is wrong."""
    assignments, problems = _parse(options)
    try:
        settings = load_settings(flags=_tree(assignments, problems), config_file=options.config)
    except SettingsError as error:
        raise SettingsError(problems + error.problems) from None
    if problems:
        raise SettingsError(problems)
    return settings


def read_checked_settings(options: argparse.Namespace) -> Settings:
    """As read_settings, and raises SettingsError also where settings, or a file they name, do not hold."""
    settings = read_settings(options)
    problems = problems_of(settings) or problems_of_key_files(settings.auth.issuers)
    if settings.auth.tenants_file:
        try:
            read_tenants(Path(settings.auth.tenants_file))
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    return settings


def variables_of(assignments: Iterable[Assignment], config_file: Path | None = None) -> dict[str, str]:
    """Return the environment variables that say the same as these flags, for a child process of ours.

    The environment is the highest source below flags, and children get no flags, so nothing changes its rank; and a
    variable, unlike an argument, is not shown to other users of the machine.
    """
    secrets = secret_variables()
    variables: dict[str, str] = {}
    for name, value in assignments:
        variables[PREFIX + name.replace(".", "__").upper()] = value
        # A file that the flag overrules must not be given beside it.
        variables |= {f"{each}{SUFFIX}": "" for each in secrets.get(name, ())}
    if config_file is not None:
        variables[CONFIG_VARIABLE] = str(config_file.absolute())
    return variables


def _parse(options: argparse.Namespace) -> tuple[list[Assignment], list[str]]:
    """Return what the flags set and, as sentences, the ones that are not assignments."""
    found = [(name, getattr(options, flag)) for flag, name in _SHORTHANDS.items() if getattr(options, flag) is not None]
    problems = []
    for text in options.set:
        name, equals, value = text.partition("=")
        if equals:
            found.append((name.strip(), value))
        else:
            problems.append(f"--set {text}: must be GROUP.KEY=VALUE")
    return found, problems


def _tree(assignments: Iterable[Assignment], problems: list[str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in assignments:
        group, dot, key = name.partition(".")
        if not dot:
            tree[group] = value
        elif isinstance(tree.setdefault(group, {}), dict):
            tree[group][key] = value
        else:
            problems.append(f"--set {name}: {group} was set as a whole before")
    return tree
