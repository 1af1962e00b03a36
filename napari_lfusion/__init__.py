"""The napari plugin: from "the model is unsure" to "corrected" against any `lfusion serve`."""
