"""From a field to a clean, textured triangle mesh, and pictures of it."""
