"""Sorted tables (LevelDB), the format of indexes and of V1 checkpoints."""
