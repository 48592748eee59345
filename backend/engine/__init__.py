"""The mathematics of text-to-3D: cameras, light, and what is built on them."""
