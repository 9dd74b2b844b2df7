"""`GET /v1/models`: what the engines serve, without their paths and permissions."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from config import EngineSettings
from gateway.api.state import CallerOf, RoomsOf
from gateway.domain import NO_MEDIUM, Caller, Medium
from gateway.errors import ModelNotFound
from gateway.lifespan import Rooms

router = APIRouter(prefix="/v1", tags=["models"])


@router.head("/models", include_in_schema=False)
@router.get("/models")
async def list_models(rooms: RoomsOf, caller: CallerOf) -> dict[str, Any]:
    """List the models that this credential may use."""
    return {"object": "list", "data": [_card(rooms, name) for name in _visible(rooms, caller)]}


@router.head("/models/{model:path}", include_in_schema=False)
@router.get("/models/{model:path}")
async def get_model(model: str, rooms: RoomsOf, caller: CallerOf) -> dict[str, Any]:
    """Describe one model."""
    if model not in _visible(rooms, caller):
        rooms.fleet.check_models_known()
        raise ModelNotFound(f"The model '{model}' does not exist.", param="model")
    return _card(rooms, model)


def _visible(rooms: Rooms, caller: Caller) -> list[str]:
    """Return the names of models, aliases among them, that the caller may use: a name, or what it leads to."""
    names = _served_by_name(rooms)
    return sorted(
        name for name, model in names.items() if caller.models is None or not caller.models.isdisjoint((name, model))
    )


def _served_by_name(rooms: Rooms) -> dict[str, str]:
    served = rooms.fleet.models
    aliases = rooms.settings.prompt.model_aliases
    return {name: name for name in served} | {name: model for name, model in aliases.items() if model in served}


def _card(rooms: Rooms, name: str) -> dict[str, Any]:
    model = _served_by_name(rooms)[name]
    lengths = [member.max_model_len_tokens for member in rooms.fleet.members if model in member.models]
    media = NO_MEDIUM.union(*(member.media for member in rooms.fleet.members if model in member.models))
    return {
        "id": name,
        "object": "model",
        "created": int(rooms.started),
        "owned_by": "gemma-gateway",
        "modalities": ["text", *_let_through(rooms.settings.engine, media)],
        "max_model_len": next((length for length in lengths if length), None),
    }


def _let_through(engine: EngineSettings, media: frozenset[Medium]) -> list[Medium]:
    """Return which of an engine's media a message may hold here."""
    most = {Medium.IMAGE: engine.max_images, Medium.AUDIO: engine.max_audios}
    return [medium for medium, count in most.items() if count and medium in media]
