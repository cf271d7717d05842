#!/usr/bin/env python3
"""What opening a file in place and encoding one prompt adds to a process that does nothing else.

    layouts_memory.py --plugin build/penult.so FILE TOWER

Prints the growth of RssFile and of RssAnon in bytes. Run by layouts.py, each time anew.
"""
import argparse
import re
import sys

from plugin import penult


def resident():
    with open("/proc/self/status", encoding="ascii") as file:
        found = dict(re.findall(r"^(Rss\w+):\s+(\d+) kB$", file.read(), re.MULTILINE))
    return [int(found[name]) * 1024 for name in ("RssFile", "RssAnon")]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--plugin", required=True)
    parser.add_argument("file")
    parser.add_argument("tower")
    options = parser.parse_args()
    library = penult.Library(options.plugin)
    before = resident()
    with penult.Model(options.file, tower=options.tower, library=library) as model, penult.Session(model) as session:
        ids = list(range(1, model.info.context - 1))
        last = model.info.vocabulary - 1
        session.encode([[last - 1, *ids, last]], layers=[-2], pooled=["projected"])
        print(*(now - then for now, then in zip(resident(), before)))


if __name__ == "__main__":
    sys.exit(main())
