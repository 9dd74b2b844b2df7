"""Launcher and supervisor of the vLLM process. vLLM is started by argv and never imported here."""
