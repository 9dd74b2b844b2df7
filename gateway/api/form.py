"""A multipart form that is in memory already → its fields, bounded. https://www.rfc-editor.org/rfc/rfc7578"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser

from gateway.domain import HeaderMap
from gateway.errors import InvalidRequest, UnsupportedMediaType

_MAX_FIELDS = 64
_MAX_FIELD_BYTES = 65_536


def require_form(headers: HeaderMap) -> None:
    """Raise UnsupportedMediaType unless the body is said to be a multipart form."""
    kind = headers.get(b"content-type", b"").split(b";", 1)[0].strip().lower()
    if kind != b"multipart/form-data":
        raise UnsupportedMediaType("The Content-Type must be multipart/form-data.")


async def read_form(headers: HeaderMap, body: bytes) -> list[tuple[str, str | bytes]]:
    """Return names and values in their order, a file's as bytes. Raises InvalidRequest."""
    raw = Headers(raw=[(b"content-type", headers.get(b"content-type", b""))])
    parser = MultiPartParser(raw, _once(body), max_files=1, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES)
    parser.spool_max_size = len(body) + 1  # What is in memory stays there: no temporary file, no thread.
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError, LookupError) as error:
        said = f": {error.message}" if isinstance(error, MultiPartException) else "."
        raise InvalidRequest(f"The body is not a valid form{said}", code="invalid_form") from None
    try:
        return [(name, value if isinstance(value, str) else await value.read()) for name, value in form.multi_items()]
    finally:
        await form.close()


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
