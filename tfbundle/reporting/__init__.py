"""One self-contained HTML page about whatever lies at a path."""
