"""What TensorBoard's `text` plugin stores with each series."""
