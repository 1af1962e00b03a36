"""The layers of a case: found by role, swapped in place."""

from napari_lfusion.layers.roles import KEY, MAPS, Role, find, mark, role_of
from napari_lfusion.layers.scale import map_limits
from napari_lfusion.layers.stack import LayerStack
from napari_lfusion.layers.swap import see

__all__ = ["KEY", "MAPS", "LayerStack", "Role", "find", "map_limits", "mark", "role_of", "see"]
