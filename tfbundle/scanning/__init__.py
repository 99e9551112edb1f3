"""What a graph could do to the machine that loads or calls it."""
