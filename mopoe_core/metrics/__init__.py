"""Metrics and pictures of a trained model: probes, coherence, log-likelihoods."""
