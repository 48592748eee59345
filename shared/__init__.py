"""The contract that the add-on and the backend both speak: standard library only, no I/O."""
