"""Rules: how a model's predictions become what is wanted of an image."""
