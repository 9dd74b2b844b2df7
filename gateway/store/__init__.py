"""Redis: the only room that imports it. Others see `Store`, `Script` and the key names."""

from gateway.store.redis import Store, open_store
from gateway.store.scripts import Script, load_script

__all__ = ["Script", "Store", "load_script", "open_store"]
