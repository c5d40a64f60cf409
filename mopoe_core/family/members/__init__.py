"""One file a model, which defines `MODEL`; `mopoe_core.family.registry` finds it."""
