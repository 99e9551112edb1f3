"""What is intact in a damaged checkpoint."""
