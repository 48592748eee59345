"""Where Blender 4.5 and 5.2 differ."""

import bpy


def node_tree(material: bpy.types.Material) -> bpy.types.NodeTree:
    """The nodes of a new material, with Blender's usual shader. Since 5.0 it has them from the start."""
    if bpy.app.version < (5, 0):
        material.use_nodes = True
    return material.node_tree
