"""Training, validation and their reports."""
