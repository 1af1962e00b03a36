"""The layers of a case: known by role, swapped in place."""

from napari_lfusion.layers.roles import KEY, MAPS, Role, mark
from napari_lfusion.layers.scale import map_limits
from napari_lfusion.layers.stack import LayerStack
from napari_lfusion.layers.swap import see

__all__ = ["KEY", "MAPS", "LayerStack", "Role", "map_limits", "mark", "see"]
