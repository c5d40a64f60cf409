"""Multimodal variational autoencoders after "Generalized Multimodal ELBO" (Sutter, Daunhawer, Vogt; ICLR 2021).

Models, losses, data, metrics and training. Nothing here knows of sweeps, Ray, MLflow or Optuna.

This file imports nothing heavy on purpose: a command line that only reads a configuration imports `mopoe_core.config` and must
answer before torch has loaded.
"""

__version__ = "0.1.0"
