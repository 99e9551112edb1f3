"""Checkpoints compared with each other and with graphs."""
