"""The engine connection and what is read from it."""

from gateway.upstream.answer import Answer, StreamedAnswer, WholeAnswer, ask

__all__ = ["Answer", "StreamedAnswer", "WholeAnswer", "ask"]
