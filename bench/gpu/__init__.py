"""The sections of bench/gpu.sh, each a program: PYTHONPATH=bench python3 -m gpu.steps --help."""
