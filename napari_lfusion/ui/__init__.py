"""The dock widget: panels over the controller, with a shortcut for everything."""

from napari_lfusion.ui.widget import AnnotatorWidget

__all__ = ["AnnotatorWidget"]
