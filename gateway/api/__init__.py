"""The edge: HTTP in, HTTP out. The hot routes are raw ASGI, the rest is FastAPI."""
