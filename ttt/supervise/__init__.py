"""How a process of a run is let in and watched, how it fails, and how it goes on later."""
