"""The devices of many machines, found and reached through Ray.

The server (`executor`) has one child process, the bridge (`bridge`), which alone speaks to Ray. On each device that the
cluster lends sits a post (`post`), which runs the same worker process as a device of the server's own machine. Files
go between the bridge, which writes into the server's folders, and the posts in pieces (`parcels`).
"""
