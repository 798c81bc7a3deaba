"""The segmentation doctor: finds every problem of a dataset, shows it, writes a repaired copy."""
