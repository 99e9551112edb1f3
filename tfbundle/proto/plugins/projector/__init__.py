"""What TensorBoard's `projector` plugin reads beside a checkpoint."""
