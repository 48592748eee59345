"""The backend is killed in the middle of a job, and started again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from desk import book, connected, generate, module, until

pid, command = int(sys.argv[1]), sys.argv[2:]
until(connected)
job = generate("a red mug steps=30 hold=25")
until(lambda: book().entries[job].live is not None and (book().entries[job].live.step or 0) > 20)
os.kill(pid, signal.SIGKILL)
Path(os.environ["FAKE_EXECUTIONS"]).with_name("go").touch()
until(lambda: book().trouble is not None)
assert module("session.wording").status(book())[1], "it says what to do"
again = subprocess.Popen(command, stdout=subprocess.DEVNULL)
until(connected)
until(lambda: book().entries[job].state == "done")
assert book().entries[job].attempt == 2
again.terminate()
again.wait()
print("went on")
