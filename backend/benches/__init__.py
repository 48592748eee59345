"""How fast this machine is, and the service on it: dreamtime bench."""
