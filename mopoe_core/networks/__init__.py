"""Encoders and decoders, alone and stacked over trials."""
