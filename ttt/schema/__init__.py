"""What a run is made of: the schema every configuration is checked against.

Plain dataclasses with their own rules, a file or folder for each group of conf/. `problems()` gives
a sentence for each problem, with the value, what is allowed and the override to type
(`ttt.errors.fault`). Nothing raises, so that a user sees all problems at once. A quantity's unit is
in its name or comment. Neither OmegaConf nor torch is known here. `ttt.schema.reference` writes the
page of all settings.
"""
