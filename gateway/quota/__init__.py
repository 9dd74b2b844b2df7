"""How much a caller may ask for: token buckets, reserved in Redis by one Lua call."""

from gateway.quota.limiter import Limiter, Permit

__all__ = ["Limiter", "Permit"]
