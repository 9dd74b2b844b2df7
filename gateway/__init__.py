"""The thin FastAPI process: an OpenAI-compatible gateway in front of vLLM engines. Start reading at `pipeline.py`."""

__version__ = "0.1.0"
