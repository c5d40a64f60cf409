"""Encoders and decoders of one trial, and of a stack of trials."""
