"""Where the course of a run is kept for other programs."""
