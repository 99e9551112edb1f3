"""What TensorBoard's `custom_scalars` plugin stores: how to lay out its charts."""
