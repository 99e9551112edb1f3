"""What TensorBoard's `hparams` plugin stores: experiments, hyperparameters and how sessions ended."""
