"""Begin a job and close Blender in the middle of it."""

from desk import book, connected, generate, until

until(connected)
job = generate("a red mug steps=20 hold=10")
until(lambda: book().entries[job].live is not None and (book().entries[job].live.step or 0) > 5)
print(f"job {job}")
