"""How a process of a run is watched, how it fails, and how it goes on later."""
