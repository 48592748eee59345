"""The backend on this very computer: planned, installed and run from inside Blender, without the terminal.

No bpy and nothing but the standard library, so that it is tested without Blender. Nothing is installed into Blender's
own Python: its interpreter makes a virtual environment, and the backend runs in a process of that environment.

    machine      what there is: the interpreter, the system, the NVIDIA card
    plan         what an installation will fetch and need, told before anything is done
    install      the installation, in a thread that can be cancelled
    removal      what it takes on the disk, and its end
    environment  where it ends up, and whether it fits this add-on
    process      the backend's process: started, watched, found again, stopped
    files        moving and deleting what other programs hold open for a while
    models       diffusion models of that backend
"""
