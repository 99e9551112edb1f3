"""V2 checkpoints: an index and data files."""
