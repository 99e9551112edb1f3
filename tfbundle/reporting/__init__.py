"""One self-contained HTML page about any path."""
