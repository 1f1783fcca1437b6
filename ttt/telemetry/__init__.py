"""What a run measures of itself: time, memory, energy, and whether the loss is finite."""
