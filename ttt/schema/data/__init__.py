"""The settings of data sets, a file a family."""
