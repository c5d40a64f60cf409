"""One file for each model. It defines `MODEL`, which `mopoe_core.family.registry` imports."""
