"""How well predictions agree with the annotation, at the native size of the images."""
