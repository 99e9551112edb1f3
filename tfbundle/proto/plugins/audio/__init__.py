"""What TensorBoard's `audio` plugin stores with each series."""
