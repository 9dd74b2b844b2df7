"""How much a caller may ask for: buckets and a ledger, reserved and settled in Redis by one Lua call each."""

from gateway.quota.estimate import Expected
from gateway.quota.ledger import Ledger, UsageRow
from gateway.quota.limiter import Limiter
from gateway.quota.permit import Permit
from gateway.quota.upkeep import Upkeep

__all__ = ["Expected", "Ledger", "Limiter", "Permit", "Upkeep", "UsageRow"]
