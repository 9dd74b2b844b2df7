"""The engine connection and what is read from it."""

from gateway.upstream.answer import Answer, StreamedAnswer, WholeAnswer, ask
from gateway.upstream.tokenize import TokenCount, count_tokens

__all__ = ["Answer", "StreamedAnswer", "TokenCount", "WholeAnswer", "ask", "count_tokens"]
