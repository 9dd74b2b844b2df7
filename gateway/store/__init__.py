"""Redis: the only room that imports it.

Others see `Store`, `Script`, `Prepared`, the key names, the cipher, and `StoreRefused`: what Redis itself will not do.
"""

from gateway.store.cipher import Cipher
from gateway.store.redis import Store, StoreRefused, open_store
from gateway.store.scripts import Prepared, Script, load_script

__all__ = ["Cipher", "Prepared", "Script", "Store", "StoreRefused", "load_script", "open_store"]
