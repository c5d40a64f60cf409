"""The quality of results: rules of the paper's claims on simulated sweeps, samplers on problems with a known front."""
