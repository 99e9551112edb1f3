"""What TensorBoard's `mesh` plugin stores with each series."""
