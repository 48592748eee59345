"""Build the installable zips of the Blender add-on; the standard library is enough.

python build_addon.py                          all zips, into dist/
python build_addon.py --install BLENDER        the zip for that Blender, installed and enabled in it
python build_addon.py --wheels DIR --offline   without the internet, by wheels that were downloaded before
python build_addon.py --stage DIR              no zip: the add-on as a folder, DIR/dreamtime, without wheels
python build_addon.py --repository DIR         all zips into DIR, and its index.json, from which Blender takes updates

One zip cannot serve all Blenders: up to 5.0 they run Python 3.11 and from 5.1 on 3.13, pyzmq has no wheel for both,
and Blender refuses an extension that brings two. The same sources give the same bytes: names are sorted, times and
modes are fixed, and nothing is compressed, since compressors differ.
"""

import argparse
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

from packager.blender import fitting, install
from packager.errors import BuildError
from packager.extension import build, stage
from packager.repository import publish
from packager.targets import GENERATIONS, PLATFORMS, Target


def main() -> int:
    options = parsed()
    try:
        if options.stage:
            print(stage(options.stage))  # noqa: T201
            return 0
        wanted = [name for name, (_, names) in PLATFORMS.items() if {*names} & {*options.platform}]
        targets = [Target(generation, name) for generation in options.blender for name in wanted]
        if options.install:
            targets = [fitting(options.install)]
        backend, website = not options.without_backend, options.website
        if options.repository:
            options.repository.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=options.repository, prefix=".new-") as name:
                zips = build(Path(name), targets, options.wheels, options.offline, backend, website)
                index = publish(options.repository, zips)
            print(f"{index.resolve().as_uri()}  to be added in Blender as a remote repository")  # noqa: T201
            return 0
        for path in build(options.out, targets, options.wheels, options.offline, backend, website):
            print(f"{path}  {path.stat().st_size:,} bytes  SHA-256 {sha256(path.read_bytes()).hexdigest()}")  # noqa: T201
            if options.install:
                install(options.install, path)
    except (BuildError, OSError) as error:
        remedy = "; see that it is there and that the disk has room" if isinstance(error, OSError) else ""
        print(f"build_addon.py: {error}{remedy}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    platforms = [name for _, names in PLATFORMS.values() for name in names]
    parser.add_argument("--out", type=Path, default=Path("dist"), help="folder for the zips (dist)")
    parser.add_argument("--platform", choices=platforms, nargs="+", default=platforms, help="only for these")
    parser.add_argument("--blender", choices=GENERATIONS, nargs="+", default=GENERATIONS, help="only from this on")
    parser.add_argument("--wheels", type=Path, help="folder where wheels from PyPI are kept and looked for")
    parser.add_argument("--offline", action="store_true", help="take wheels from the folder only")
    parser.add_argument("--without-backend", action="store_true", help="small zips, for a backend elsewhere")
    parser.add_argument("--website", default="", metavar="URL", help="page of whoever publishes, for the manifest")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--install", metavar="BLENDER", help="build the zip for this Blender and install it")
    instead.add_argument("--repository", type=Path, metavar="DIR", help="make or renew a repository for Blender in DIR")
    instead.add_argument("--stage", type=Path, metavar="DIR", help="write DIR/dreamtime instead of zips")
    options = parser.parse_args()
    if options.offline and not options.wheels:
        parser.error("--offline needs --wheels, a folder with the wheels")
    return options


if __name__ == "__main__":
    sys.exit(main())
