"""What a GPU makes of the whole program, in minutes and offline: dreamtime bench --gpu-check."""
