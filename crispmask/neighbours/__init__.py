"""Instances as other tools want them."""
