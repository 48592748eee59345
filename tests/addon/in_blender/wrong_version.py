"""A backend of an older DreamTime: the panel says which side to update."""

from desk import book, module, until

module("shared.wire").VERSION = 4
runtime = module("runtime").current()
runtime.connect(remote=False)
until(lambda: book().trouble is not None and "protocol" in book().trouble.sentence)
assert module("session.wording").status(book()) == (
    "The other side speaks protocol 3 and this one 4",
    "Update DreamTime on the other side",
)
print("versions are told apart")
