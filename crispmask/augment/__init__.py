"""Random changes of training samples; all randomness comes from the generator passed in."""
