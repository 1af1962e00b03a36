"""What the annotator does to the open case, on napari's public model: needs no window."""
