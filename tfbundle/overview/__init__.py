"""Overview: what a path is, and what a folder contains."""
