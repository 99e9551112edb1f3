"""What TensorBoard's `pr_curves` plugin stores with each series."""
