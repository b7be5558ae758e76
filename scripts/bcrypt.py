#!/usr/bin/env python3
"""Reads a line, the password, and prints its bcrypt hash, the only one that Prometheus and Alertmanager take.

The C library's own crypt makes it (every Linux has one that can), or htpasswd. The cost is the least there is: our passwords have
192 bits of chance and lie beside their hashes, and whoever asks with a wrong one shall not take much of a processor.
"""

import ctypes
import secrets
import shutil
import string
import subprocess
import sys

LETTERS = "./" + string.ascii_letters + string.digits


def by_the_c_library(password):
    # 128 bits of salt; of the last letter two bits count.
    salt = "$2b$04$" + "".join(secrets.choice(LETTERS) for _ in range(21)) + secrets.choice(".Oeu")
    # musl has it in the C library itself.
    for library in ("libcrypt.so.1", "libcrypt.so.2", None):
        try:
            crypt = ctypes.CDLL(library).crypt
        except (OSError, AttributeError):
            continue
        crypt.restype = ctypes.c_char_p
        made = crypt(password.encode(), salt.encode())
        if made and made.startswith(b"$2b$04$") and len(made) == 60:
            return made.decode()
    return None


def by_htpasswd(password):
    if not shutil.which("htpasswd"):
        return None
    return subprocess.run(["htpasswd", "-niB", "-C", "4", "x"], input=password, capture_output=True, text=True, check=True).stdout.split(":", 1)[1].strip()


def main():
    password = sys.stdin.readline().rstrip("\n")
    made = by_the_c_library(password) or by_htpasswd(password)
    if not made:
        sys.exit("bcrypt.py: neither this system's crypt nor htpasswd (apache2-utils) can make a bcrypt hash")
    print(made)


if __name__ == "__main__":
    main()
