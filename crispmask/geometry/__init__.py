"""Polygons, masks, boxes and sizes; NumPy and OpenCV only."""
