"""The commands of `gemma-gateway` that have more to them than a call."""
