"""A run on a machine that is not here: what each process holds and sends, counted on this one."""
