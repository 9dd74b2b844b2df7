"""`Idempotency-Key`: the same request, sent twice, is answered once."""

from gateway.idempotency.claims import Claim, Claims, Recorded

__all__ = ["Claim", "Claims", "Recorded"]
