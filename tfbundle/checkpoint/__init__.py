"""Checkpoints: tensors by name, from V2 bundles and V1 files, and the state file that names the latest."""
