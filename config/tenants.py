"""The file of tenants and tiers (`auth.tenants_file`): its schema, and how it is read, as a whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from config.fields import Group, Words
from config.load import SettingsError, sentences_of, yaml_reason

_MAX_BYTES = 16_777_216

Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^{}\x00-\x1f\x7f]+$")]


class LimitsEntry(Group):
    """How much may be taken; 0 is without limit."""

    requests_per_minute: int = Field(0, ge=0)
    requests_per_hour: int = Field(0, ge=0)
    tokens_per_minute: int = Field(0, ge=0)
    tokens_per_day: int = Field(0, ge=0)
    concurrent_requests: int = Field(0, ge=0)


class TierEntry(Group):
    """Limits for a user, for a tenant's users together, and for these at any one model."""

    user: LimitsEntry = Field(default_factory=LimitsEntry)
    tenant: LimitsEntry = Field(default_factory=LimitsEntry)
    tenant_model: LimitsEntry = Field(default_factory=LimitsEntry)
    priority: int = Field(0, ge=-1_000_000, le=1_000_000)
    weight: int = Field(1, ge=1, le=1000)


class TenantEntry(Group):
    """A tenant's tier (the default one without it), the models it may use (all without it), and whether it may call."""

    tier: Name | None = None
    models: Words | None = None
    suspended: bool = False


class TenantsFile(Group):
    """All of it. Every tier that is named is there."""

    default_tier: Name | None = None
    tiers: dict[Name, TierEntry] = Field(default_factory=dict)
    tenants: dict[Name, TenantEntry] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _name_only_tiers_that_are_there(self) -> Self:
        named = {"default_tier": self.default_tier}
        named |= {f"tenants.{name}.tier": tenant.tier for name, tenant in self.tenants.items()}
        for place, tier in named.items():
            if tier is not None and tier not in self.tiers:
                raise ValueError(f"{place}: there is no tier '{tier}'")
        return self


class _OnceLoader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error: the second would silently replace the first."""


def _mapping(loader: _OnceLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key, _ in node.value:
        name = loader.construct_object(key)
        if name in seen:
            raise yaml.constructor.ConstructorError(None, None, "a key stands twice", key.start_mark)
        seen.add(name)
    return loader.construct_mapping(node, deep=True)


_OnceLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_tenants(path: Path) -> TenantsFile:
    """Return what the file says. Raises SettingsError with every problem, and then nothing of it holds.

    A file that says nothing is a problem: it is what a full disk, or a writer that has only begun, leaves of one.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise SettingsError([f"{path}: is larger than {_MAX_BYTES} bytes"])
        tree = yaml.load(text, _OnceLoader)  # noqa: S506 - a safe loader
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, TypeError, ValueError) as error:
        raise SettingsError([f"{path}: cannot be read: {yaml_reason(error)}"]) from None
    if tree is None:
        raise SettingsError([f"{path}: is empty; where no tenants and tiers are wanted it says {{}}"])
    try:
        return TenantsFile.model_validate(tree)
    except ValidationError as error:
        raise SettingsError([f"{path}: {sentence}" for sentence in sentences_of(error)]) from None
