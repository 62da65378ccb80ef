#!/usr/bin/env python3
"""Verifies a transparency log from its files, with nothing but Python's standard library.

Written from the specifications and from no other code:
  C2SP signed-note, tlog-checkpoint, tlog-cosignature (version 1), tlog-tiles; RFC 6962 section 2.1; RFC 8032 section 5.1.

    verify.py --log VKEY [--witness VKEY ...] [--quorum N] [--earlier FILE ...] FOLDER

It reads every file below FOLDER and accepts the log only if
  - the checkpoint is signed by the log's key and cosigned by at least N of the witnesses, and by nobody else;
  - there are exactly the files that a log of this size has;
  - every tile is what the entries make it, and the root is the one that was signed;
  - the log begins as each earlier checkpoint says. An earlier checkpoint counts if the log or a witness signed it.

FOLDER `-` reads the names of folders from standard input, a line each, and answers each with a line: `ok SIZE ROOT` or
`bad REASON`. Otherwise the exit code says whether the log is accepted.
"""

import argparse
import base64
import binascii
import hashlib
import os
import stat
import sys

# ---- Ed25519, RFC 8032 section 5.1 ----

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_MINUS_1 = pow(2, (P - 1) // 4, P)


def recover_x(y, sign):
    """5.1.3: the x of the point with this y, or None."""
    if y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P == (P - u) % P:
        x = x * SQRT_MINUS_1 % P
    elif v * x * x % P != u:
        return None
    if x == 0 and sign:
        return None
    return P - x if x & 1 != sign else x


def decode_point(encoded):
    number = int.from_bytes(encoded, "little")
    y, sign = number & (2**255 - 1), number >> 255
    x = recover_x(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


def add(a, b):
    """5.1.4: the sum of two points in extended homogeneous coordinates."""
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    aa, bb = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    cc, dd = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = bb - aa, dd - cc, dd + cc, bb + aa
    return e * f % P, g * h % P, f * g % P, e * h % P


def double(a):
    x, y, z, _ = a
    aa, bb, cc = x * x % P, y * y % P, 2 * z * z % P
    h = aa + bb
    e, g = h - (x + y) * (x + y), aa - bb
    f = cc + g
    return e * f % P, g * h % P, f * g % P, e * h % P


def encode_point(a):
    x, y, z, _ = a
    inverse = pow(z, -1, P)
    x, y = x * inverse % P, y * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


NEUTRAL = (0, 1, 1, 0)
BASE = decode_point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def ed25519_verify(public, message, signature):
    """5.1.7: whether [S]B = R + [k]A, which is R = [S]B + [k](-A)."""
    if len(public) != 32 or len(signature) != 64:
        return False
    key = decode_point(public)
    s = int.from_bytes(signature[32:], "little")
    if key is None or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    minus = ((P - key[0]) % P, key[1], 1, (P - key[3]) % P)
    sums = (None, BASE, minus, add(BASE, minus))
    point = NEUTRAL
    for bit in range(252, -1, -1):
        point = double(point)
        which = (s >> bit & 1) | (k >> bit & 1) << 1
        if which:
            point = add(point, sums[which])
    return encode_point(point) == signature[:32]


# ---- Base64, notes, checkpoints ----


class Bad(Exception):
    """Something is not as the specifications and the log's keys say."""


def unbase64(text):
    """RFC 4648 section 4, in its one spelling."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise Bad("not base64: %r" % text) from None
    if base64.b64encode(decoded).decode() != text:
        raise Bad("base64 in another spelling: %r" % text)
    return decoded


def check_name(name):
    if not name or "+" in name or any(c.isspace() for c in name):
        raise Bad("not the name of a key: %r" % name)


class Key:
    """A vkey: NAME+ID+KEY. Kind 1 signs notes, kind 4 cosigns checkpoints."""

    def __init__(self, text):
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise Bad("not a vkey: %r" % text)
        self.name, identifier, material = parts[0], parts[1], unbase64(parts[2])
        check_name(self.name)
        if len(material) != 33 or material[0] not in (1, 4):
            raise Bad("not an Ed25519 vkey: %r" % text)
        self.kind, self.public = material[0], material[1:]
        self.identifier = hashlib.sha256(self.name.encode() + b"\n" + material).digest()[:4]
        if self.identifier.hex() != identifier:
            raise Bad("the id of the vkey %r is not that of its key" % text)

    def verifies(self, text, signature):
        if self.kind == 1:
            return ed25519_verify(self.public, text, signature)
        time = int.from_bytes(signature[:8], "big")
        if len(signature) != 72 or time >= 2**63:
            return False
        return ed25519_verify(self.public, b"cosignature/v1\ntime %d\n" % time + text, signature[8:])


def parse_note(content):
    """The text, and (name, key id, signature) of each signature line."""
    try:
        note = content.decode("utf-8")
    except UnicodeDecodeError:
        raise Bad("a note that is not UTF-8") from None
    if any(c < " " and c != "\n" for c in note):
        raise Bad("a note with control characters")
    blank = note.rfind("\n\n")
    if blank < 0 or not note.endswith("\n") or blank + 2 == len(note):
        raise Bad("a note without text, blank line and signatures")
    lines = []
    for line in note[blank + 2 : -1].split("\n"):
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "\u2014":
            raise Bad("not a signature line: %r" % line)
        check_name(parts[1])
        decoded = unbase64(parts[2])
        if len(decoded) < 5:
            raise Bad("a signature without bytes")
        lines.append((parts[1], decoded[:4], decoded[4:]))
    return note[: blank + 1].encode(), lines


def parse_checkpoint(text):
    """Origin, size and root."""
    lines = text.decode()[:-1].split("\n")
    if len(lines) < 3 or not all(lines):
        raise Bad("a checkpoint without origin, size and root")
    size = lines[1]
    if not size.isascii() or not size.isdecimal() or str(int(size[:20])) != size or int(size) >= 2**63:
        raise Bad("not the size of a tree: %r" % size)
    root = unbase64(lines[2])
    if len(root) != 32:
        raise Bad("a root that is not a hash")
    return lines[0], int(size), root


def open_checkpoint(content, log, witnesses):
    """Size, root, whether the log signed, which witnesses cosigned, and how many signatures are by others."""
    text, lines = parse_note(content)
    origin, size, root = parse_checkpoint(text)
    if origin != log.name:
        raise Bad("a checkpoint of the log %r" % origin)
    keys = {(key.name, key.identifier): key for key in [log] + witnesses}
    signed, unknown = [], 0
    for name, identifier, signature in lines:
        key = keys.get((name, identifier))
        if key is None:
            unknown += 1
            continue
        if not key.verifies(text, signature):
            raise Bad("the signature of %s does not hold" % name)
        if key in signed:
            raise Bad("%s signed twice" % name)
        signed.append(key)
    return size, root, log in signed, len([key for key in signed if key is not log]), unknown


# ---- The tree, RFC 6962 section 2.1, and its files ----


def leaf_hash(entry):
    return hashlib.sha256(b"\0" + entry).digest()


def tree_hash(hashes):
    """The hash of subtrees of one height, left to right. Without any it is that of the empty tree."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    # Pairing row by row, with an odd one moved up, divides where the definition does: at the largest power of two.
    while len(hashes) > 1:
        row = [hashlib.sha256(b"\1" + a + b).digest() for a, b in zip(hashes[::2], hashes[1::2])]
        hashes = row + hashes[len(row) * 2 :]
    return hashes[0]


def tile_name(level, index, width):
    groups = "%03d" % (index % 1000)
    while index >= 1000:
        index //= 1000
        groups = "x%03d/%s" % (index % 1000, groups)
    return "tile/%s/%s" % (level, groups) + (".p/%d" % width if width < 256 else "")


def tiles_of(level, count):
    """Names of the tiles that `count` hashes or entries make, with where each begins and ends."""
    for first in range(0, count, 256):
        last = min(first + 256, count)
        yield tile_name(level, first // 256, last - first), first, last


def list_files(folder):
    """Names of all files; what is no plain file, and an empty folder, has a name that no log has."""
    found = set()
    for base, folders, files in os.walk(folder):
        prefix = os.path.relpath(base, folder) + "/" if base != folder else ""
        if not folders and not files and prefix:
            found.add(prefix)
        for name in files + [name for name in folders if os.path.islink(os.path.join(base, name))]:
            plain = stat.S_ISREG(os.lstat(os.path.join(base, name)).st_mode)
            found.add(prefix + name if plain else prefix + name + " (not a plain file)")
    return found


def split_bundle(content, width):
    entries, at = [], 0
    for _ in range(width):
        length = int.from_bytes(content[at : at + 2], "big")
        entry = content[at + 2 : at + 2 + length]
        if len(content) < at + 2 + length:
            raise Bad("a bundle that is cut off")
        entries.append(entry)
        at += 2 + length
    if at != len(content):
        raise Bad("a bundle with more than its entries")
    return entries


def verify(folder, log, witnesses, quorum, earlier):
    def read(name):
        try:
            with open(os.path.join(folder, name), "rb") as file:
                return file.read()
        except OSError as error:
            raise Bad("%s: %s" % (name, error.strerror)) from None

    files = list_files(folder)
    if "checkpoint" not in files:
        raise Bad("checkpoint is missing")
    size, root, by_log, cosigned, unknown = open_checkpoint(read("checkpoint"), log, witnesses)
    if not by_log:
        raise Bad("the log did not sign the checkpoint")
    if unknown:
        raise Bad("%d signatures by unknown keys" % unknown)
    if cosigned < quorum:
        raise Bad("%d witnesses cosigned, and it takes %d" % (cosigned, quorum))

    # A size that no folder holds is seen before its names are counted up.
    if size > 256 * len(files):
        raise Bad("files are missing")
    counts = [size >> 8 * level for level in range(8) if size >> 8 * level]
    expected = {"checkpoint"}
    for level, count in [("entries", size)] + list(enumerate(counts)):
        expected.update(name for name, _, _ in tiles_of(level, count))
    for name in sorted(files - expected):
        raise Bad("%r does not belong to the log" % name)
    for name in sorted(expected - files):
        raise Bad("%s is missing" % name)

    leaves = []
    for name, first, last in tiles_of("entries", size):
        leaves.extend(leaf_hash(entry) for entry in split_bundle(read(name), last - first))
    level, hashes = 0, leaves
    while hashes:
        above = []
        for name, first, last in tiles_of(level, len(hashes)):
            if read(name) != b"".join(hashes[first:last]):
                raise Bad("%s was changed" % name)
            if last - first == 256:
                above.append(tree_hash(hashes[first:last]))
        level, hashes = level + 1, above
    if tree_hash(leaves) != root:
        raise Bad("the entries do not have the root that was signed")

    for content in earlier:
        old_size, old_root, by_log, cosigned, _ = open_checkpoint(content, log, witnesses)
        if not by_log and not cosigned:
            raise Bad("nobody known signed the earlier checkpoint")
        if old_size > size:
            raise Bad("the log has %d entries and had %d" % (size, old_size))
        if tree_hash(leaves[:old_size]) != old_root:
            raise Bad("the first %d entries are not those that were signed then" % old_size)
    return size, root


def main():
    parser = argparse.ArgumentParser(description="Verifies a transparency log from its files.")
    parser.add_argument("--log", required=True, metavar="VKEY", help="the log's key")
    parser.add_argument("--witness", action="append", default=[], metavar="VKEY", help="a witness's key")
    parser.add_argument("--quorum", type=int, default=0, metavar="N", help="how many witnesses it takes")
    parser.add_argument("--earlier", action="append", default=[], metavar="FILE", help="a checkpoint that was kept")
    parser.add_argument("folder", help="where the log lies; - reads names of folders from standard input")
    arguments = parser.parse_args()

    def answer(folder):
        try:
            log, witnesses = Key(arguments.log), [Key(text) for text in arguments.witness]
            if log.kind != 1 or any(key.kind != 4 for key in witnesses):
                raise Bad("the log's key signs notes, those of witnesses cosign")
            if len({key.public for key in [log] + witnesses}) != 1 + len(witnesses):
                raise Bad("one key would count twice")
            kept = []
            for name in arguments.earlier:
                with open(name, "rb") as file:
                    kept.append(file.read())
            size, root = verify(folder, log, witnesses, arguments.quorum, kept)
            return "ok %d %s" % (size, base64.b64encode(root).decode())
        except Bad as bad:
            return "bad %s" % bad

    if arguments.folder != "-":
        line = answer(arguments.folder)
        print(line)
        sys.exit(0 if line.startswith("ok") else 1)
    for folder in sys.stdin:
        print(answer(folder.rstrip("\n")), flush=True)


if __name__ == "__main__":
    main()
