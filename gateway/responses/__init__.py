"""Responses that are kept, so that one may go on from another. Written once, never changed."""

from gateway.responses.store import NO_ROW, KeptResponse, ResponseStore, Row

__all__ = ["NO_ROW", "KeptResponse", "ResponseStore", "Row"]
