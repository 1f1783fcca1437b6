"""The settings of models, a file a family."""
