"""The built-in diffusion prior: what it knows, how it was trained, and its weights."""
