#!/usr/bin/env python3
"""Reads vlock's busy message on stdin, prints the TTL left in it in ms (-1: never expires)."""
import re
import sys

UNITS = {"ms": 1, "s": 1000, "m": 60000, "h": 3600000, "d": 86400000}
text = sys.stdin.read()
if "never expires" in text:
    print(-1)
elif found := re.search(r"((?:[0-9.]+(?:ms|[smhd]))+) left", text):
    parts = re.findall(r"([0-9.]+)(ms|[smhd])", found[1])
    print(int(sum(float(number) * UNITS[unit] for number, unit in parts)))
else:
    print(-2)
