"""The engine connection and what is read from it."""

from gateway.upstream.answer import Answer, StreamedAnswer, ask
from gateway.upstream.tokenize import TokenCount, count_tokens
from gateway.upstream.whole import WholeAnswer

__all__ = ["Answer", "StreamedAnswer", "TokenCount", "WholeAnswer", "ask", "count_tokens"]
