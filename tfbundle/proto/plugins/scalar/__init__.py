"""What TensorBoard's `scalars` plugin stores with each series."""
