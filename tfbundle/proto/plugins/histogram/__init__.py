"""What TensorBoard's `histograms` plugin stores with each series."""
