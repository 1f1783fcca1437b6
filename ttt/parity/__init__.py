"""Whether a model learns the same on several processes as on one: `python -m ttt.parity`."""
