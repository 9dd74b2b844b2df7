"""`serve`: Redis, the engine and the gateway as child processes of one machine. Read stack.py first."""

from gateway.stack.errors import StackError
from gateway.stack.processes import run_processes
from gateway.stack.serve import serve

__all__ = ["StackError", "run_processes", "serve"]
