"""What `ttt new` writes: a folder for `--config-dir`, with parts to change or for prepared data."""
