"""Redis: the only room that imports it.

Others see `Store`, `Script`, the key names, the cipher, and `StoreRefused` for what Redis itself will not do.
"""

from gateway.store.cipher import Cipher
from gateway.store.redis import Store, StoreRefused, open_store
from gateway.store.scripts import Script, load_script

__all__ = ["Cipher", "Script", "Store", "StoreRefused", "load_script", "open_store"]
