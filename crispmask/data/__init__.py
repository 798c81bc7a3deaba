"""From data.yaml, images and label files to batches and COCO annotations."""
