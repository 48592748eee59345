"""The devices of many machines, found and reached through Ray.

The server (`executor`) has one child process, the bridge (`bridge`), which alone speaks to Ray. On each device that the
cluster lends sits a post (`post`), which runs the same worker process as a device of the server's own machine. Files
go between the bridge, which writes into the server's folders, and the posts in pieces (`parcels`, `mirror`).

Why so, where Ray has means of its own:

- `ray.cancel` only sets a flag in an actor; a post asks its worker process to end, and then ends it.
- What an actor streams can be lost with its connection; a post keeps its news until the bridge has heard them.
- A process that loses its head node, or its raylet, is ended by Ray; that is the bridge then, not the server.
- An actor ends with the process that made it, so that after a kill -9 of the server its devices become free; should
  Ray not notice, a post that nobody asks ends by itself. Its worker ends with it, as the kernel sees to.
- Two servers on one cluster: each post holds its device as a resource of Ray's, and so the other one waits for it.
"""
