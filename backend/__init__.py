"""DreamTime's backend: everything that runs on the machine with the processor to spare."""
