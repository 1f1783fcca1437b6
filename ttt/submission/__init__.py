"""A submission as MLCommons takes it: planned, built and judged by MLCommons' own tools."""
