"""What runs say: pure functions from runs to figures and sentences."""
