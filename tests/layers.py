#!/usr/bin/env python3
"""Protects the one-way structure of the tree: reads every #include and says which ones point the wrong way.

    samples -> api <- plugin -> encoder/*.h -> {model -> kernels} {condition -> text} {format} -> base

Each third-party library is included by exactly one .c file of the plugin. No network, no build; TAP on stdout.
"""
import pathlib
import re
import sys

# room -> rooms whose headers it may include (its own is always allowed)
ALLOWED = {
    "api": set(),
    "plugin": {"api", "encoder", "encoder/base"},
    "encoder": {"encoder/base", "encoder/condition", "encoder/format", "encoder/text", "encoder/model", "encoder/kernels",
                "encoder/pipeline"},
    "encoder/pipeline": {"encoder", "encoder/base", "encoder/condition"},
    "encoder/condition": {"encoder/base", "encoder/text"},
    "encoder/model": {"encoder/base", "encoder/kernels"},
    "encoder/kernels": {"encoder/base"},
    "encoder/text": {"encoder/base", "encoder/format"},
    "encoder/format": {"encoder/base"},
    "encoder/base": set(),
    "samples": {"api"},
    "samples/penult": {"api", "samples/picture"},
    "samples/picture": set(),
}
# library header -> the one file that may include it
LIBRARIES = {
    "cblas.h": "encoder/kernels/openblas.c",
    "openblas_config.h": "encoder/kernels/openblas.c",
    "utf8proc.h": "encoder/text/normalise.c",
    "png.h": "samples/picture/png_file.c",
}
FORBIDDEN_IN_PLUGIN = {"stdio_ext.h", "locale.h", "setjmp.h", "assert.h", "cjson/cJSON.h", "png.h", "zlib.h"}
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.M)

root = pathlib.Path(__file__).resolve().parent.parent
count = failures = 0


def check(good, name):
    global count, failures
    count += 1
    failures += not good
    print(f"{'ok' if good else 'not ok'} {count} - {name}")


for room, allowed in ALLOWED.items():
    wrong = []
    files = sorted(p for p in (root / room).glob("*.[ch]"))
    for path in files:
        name = path.relative_to(root).as_posix()
        for own, system in INCLUDE.findall(path.read_text(encoding="utf-8")):
            if own:
                target = (path.parent / own).resolve()
                if not target.exists():
                    target = root / "api" / own  # samples are compiled with -Iapi
                there = target.parent.relative_to(root).as_posix()
                if there != room and there not in allowed:
                    wrong.append(f"{name} includes {own}")
            elif system in LIBRARIES and LIBRARIES[system] != name:
                wrong.append(f"{name} includes <{system}>, which belongs to {LIBRARIES[system]}")
            elif room.startswith(("encoder", "plugin")) and system in FORBIDDEN_IN_PLUGIN:
                wrong.append(f"{name} includes <{system}>")
    check(bool(files), f"{room} has files")
    check(not wrong, f"{room} includes only what it may" + "".join(f"\n#   {w}" for w in wrong))

texts = {p: p.read_text(encoding="utf-8") for p in (root / "encoder").rglob("*.[ch]")}
wrong = [p.relative_to(root).as_posix() for p, text in texts.items() if re.search(r"\bpenult_(?!api\b)\w+|PENULT_E_", text)]
check(not wrong, f"the engine names no ABI type {wrong}")
sources = [p for room in ("api", "plugin", "encoder", "samples", "tests") for p in (root / room).rglob("*")
           if p.suffix in (".c", ".h", ".py", ".sh")]
wrong = [p.relative_to(root).as_posix() for p in sources if not p.read_bytes().isascii()]
check(not wrong, f"sources are ASCII {wrong}")
wrong = []
for p in sources:
    lines = p.read_text(encoding="utf-8").count("\n")
    # penult.h is the manual too: a host author reads one file
    if lines > 450 and not re.search(r"unicode_table|font_|entities|^penult\.h$", p.name):
        wrong.append(f"{p.relative_to(root).as_posix()} ({lines})")
check(not wrong, f"no file but a table is above 450 lines {wrong}")
print(f"1..{count}")
sys.exit(failures > 0)
