"""What a file or a folder is, by its content."""
