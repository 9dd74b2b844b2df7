"""Who is asking: a bearer credential becomes a Caller."""

from gateway.identity.authenticator import Authenticator
from gateway.identity.middleware import AuthenticationMiddleware
from gateway.identity.room import Identity

__all__ = ["AuthenticationMiddleware", "Authenticator", "Identity"]
