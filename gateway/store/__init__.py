"""Redis: the only room that imports it. Others see `Store`, `Script`, the key names and the cipher."""

from gateway.store.cipher import Cipher
from gateway.store.redis import Store, open_store
from gateway.store.scripts import Script, load_script

__all__ = ["Cipher", "Script", "Store", "load_script", "open_store"]
