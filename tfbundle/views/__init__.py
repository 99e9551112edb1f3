"""Checkpoints as other libraries see them, without a copy."""
