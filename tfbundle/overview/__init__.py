"""What a path is, and what lies below a folder."""
