"""What TensorBoard's `images` plugin stores with each series."""
