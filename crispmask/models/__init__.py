"""The two architectures and what they share."""
