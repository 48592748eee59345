"""A backend of an older DreamTime: the panel says which side to update."""

from desk import book, module, until

wire = module("shared.wire")
theirs = wire.VERSION
wire.VERSION += 1
runtime = module("runtime").current()
runtime.connect(remote=False)
until(lambda: book().trouble is not None and "protocol" in book().trouble.sentence)
assert module("session.wording").status(book()) == (
    f"The other side speaks protocol {theirs} and this one {theirs + 1}",
    "Update DreamTime on the other side",
)
print("versions are told apart")
