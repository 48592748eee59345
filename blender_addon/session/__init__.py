"""What the add-on knows and does apart from Blender: nothing in here imports bpy."""
