#!/usr/bin/env python3
"""harmless.py ENCODING FILE...: fails, and says where, if a file holds anything that a terminal of that
ENCODING (utf-8, or another one) would obey, hide or be misled by. A line may end with LF or CR LF."""
import sys
import unicodedata

# What is invisible by its nature but has another category than those below.
IGNORABLE = [0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x3164, 0xFFA0,
             *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]


def harm(character):
    return (unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp", "Cs", "Co")
            or ord(character) in IGNORABLE)


bad = False
for name in sys.argv[2:]:
    with open(name, "rb") as file:
        data = file.read()
    for number, line in enumerate(data.replace(b"\r\n", b"\n").split(b"\n"), 1):
        try:
            text = line.decode("utf-8" if sys.argv[1] == "utf-8" else "ascii")
            found = [f"U+{ord(c):04X}" for c in text if harm(c)]
        except UnicodeDecodeError as error:
            found = [str(error)]
        if found:
            bad = True
            print(f"{name}:{number}: {line!r}: {', '.join(found)}")
sys.exit(bad)
