"""What is measured of a trained model: probes, coherence, log-likelihoods, pictures."""
