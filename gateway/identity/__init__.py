"""Who is asking: a bearer credential becomes a Caller."""

from gateway.identity.authenticator import Authenticator
from gateway.identity.issuers import Issuers
from gateway.identity.middleware import AuthenticationMiddleware
from gateway.identity.tenants_watch import Tenants

__all__ = ["AuthenticationMiddleware", "Authenticator", "Issuers", "Tenants"]
