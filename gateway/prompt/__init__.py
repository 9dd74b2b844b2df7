"""What a client may ask for, and what the engine is sent. Pure: values in, values out."""

from gateway.prompt.compose import compose, defaults_of
from gateway.prompt.home import home_of
from gateway.prompt.media import media_limits
from gateway.prompt.parse import Policy, json_object, parse

__all__ = ["Policy", "compose", "defaults_of", "home_of", "json_object", "media_limits", "parse"]
