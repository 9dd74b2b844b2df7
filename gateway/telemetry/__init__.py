"""What operators see: every metric in `metrics.py`, the shape of the log in `logging.py`."""
