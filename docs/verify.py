#!/usr/bin/env python3
"""Verifies one Pechat receipt with Python and openssl alone: docs/formats/journal.md says what is checked.

With --statement (and the receipt of that statement) also that every entry of --export is linked, and that both
roots in the statement, SHA-256 and SHA3-256, are those of the entries."""
import argparse, base64, hashlib, json, subprocess, sys, tempfile
sha = lambda data: hashlib.sha256(data).digest()
b64 = lambda text: base64.b64decode(text, validate=True)
def need(holds, reason):
    if not holds: raise ValueError(reason)

def climb(what, node, index, size, path, root):  # RFC 9162 section 2.1.3.2
    last = size - 1
    need(index <= last, f"{what}: leaf {index} is not in a tree of {size}")
    for sibling in path:
        need(last > 0, f"{what}: the path is too long")
        left = index & 1 or index == last
        node = sha(b"\1" + (sibling + node if left else node + sibling))
        while left and not index & 1 and index:
            index, last = index >> 1, last >> 1
        index, last = index >> 1, last >> 1
    need(last == 0 and node == b64(root), f"{what}: the path does not lead to the root")
def root_of(hash, leaves):  # RFC 6962 section 2.1, one leaf after the other
    digest, peaks = (lambda data: hashlib.new(hash, data).digest()), []
    for number, leaf in enumerate(leaves):
        node = digest(b"\0" + leaf)
        while number & 1:
            node, number = digest(b"\1" + peaks.pop() + node), number >> 1
        peaks.append(node)
    root = peaks.pop()
    while peaks: root = digest(b"\1" + peaks.pop() + root)
    return root.hex()
def replay(statement, export):
    label, header, entries = open(export, "rb").read().split(b"\n", 2)
    header, said = json.loads(header), json.load(open(statement))
    need(label == b"pechat-export v1" and said["algorithm"] == "sha3-256", "another version of export or statement")
    entries = [entries[at:at + 152] for at in range(0, len(entries), 152)]
    need(len(entries) == header["count"] and len(entries[-1]) == 152, "the export ends early or late")
    link = sha(header["charter"].encode())
    for number, entry in enumerate(entries):
        expected = b"pechat/entry/v1\n" + sha(header["origin"].encode()) + number.to_bytes(8, "big") + link
        need(entry[:88] == expected, f"entry {number} does not follow the one before it")
        link = sha(b"\0" + entry)
    need(root_of("sha256", entries) == b64(header["head"].split("\n")[2]).hex(), "the head is not that of the entries")
    twin = [tree for tree in said["trees"] if tree["origin"] == header["origin"]][0]
    for name, hash in ("root", "sha256"), ("twin", "sha3_256"):
        need(root_of(hash, entries[:twin["size"]]) == twin[name], f"the {hash} root is not the stated one")
    print(f"PASSED: {len(entries)} entries of {header['origin']}, sha3_256 root of the first {twin['size']} is {twin['twin']}")
def openssl(what, *words):
    run = subprocess.run(["openssl", *words], capture_output=True, text=True)
    need(run.returncode == 0, f"{what}: openssl says {' '.join((run.stdout + run.stderr).split())}")
    return run.stdout

def verify(args, place):
    proof, note = open(args.receipt, "rb").read().decode().split("\n\n", 1)
    label, extra, index, *root_path = proof.split("\n")
    need(label == "c2sp.org/tlog-proof@v1" and extra[:6] == "extra " and index[:6] == "index ", "not a receipt")
    extra, end = b64(extra[6:]), 156 + int.from_bytes(b64(extra[6:])[152:156], "big")
    entry, head, path = extra[:152], extra[156:end], [extra[i:i + 32] for i in range(end + 2, len(extra), 32)]
    need(len(extra) == end + 2 + 32 * int.from_bytes(extra[end:end + 2], "big"), "the extra data ends early or late")
    origin, size, root, after, rest = head.decode().split("\n")
    known = after[:6] == "after " and rest == "" and entry[118:120] == b"\0\1"
    need(known and entry[:48] == b"pechat/entry/v1\n" + sha(origin.encode()), "another version or journal")
    if args.statement:
        need(origin == note.split("root\n")[0] + "j/own.twins", "the receipt is not of a statement")
        args.digest = sha(open(args.statement, "rb").read()).hex()
    need((args.digest or entry[120:].hex()).lower() == entry[120:].hex(), f"the receipt is for digest {entry[120:].hex()}")
    seq = int.from_bytes(entry[48:56], "big")
    climb("entry in journal head", sha(b"\0" + entry), seq, int(size), path, root)
    body, lines = note.rsplit("\n\n", 1)
    name, root_size, root_hash = body.split("\n")
    need(name[-5:] == "/root" and origin.startswith(name[:-4] + "j/"), "head and checkpoint are of different appliances")
    climb("head in checkpoint", sha(b"\0" + head), int(index[6:]), int(root_size), map(b64, root_path), root_hash)
    values = {(n, b64(value)[:4]): b64(value)[4:] for _, n, value in map(str.split, lines.splitlines())}
    spki = b64("".join(open(args.head_key).read().split("-----")[2].split()))
    for file, key in ("signature", spki), ("token", name.encode() + b"\n\xffrfc3161"):
        value = values.get((name, sha(key)[:4]))
        need(value, f"the checkpoint has no {file} line of this key")
        open(place + file, "wb").write(value)
    open(place + "body", "wb").write(body.encode() + b"\n")
    openssl("signature", "dgst", "-sha256", "-verify", args.head_key, "-signature", place + "signature", place + "body")
    openssl("token", "ts", "-verify", "-token_in", "-in", place + "token", "-data", place + "body", "-CAfile", args.ca)
    text = openssl("token", "ts", "-reply", "-token_in", "-in", place + "token", "-text").split("Time stamp: ")[1]
    print(f"PASSED: entry {seq} of {origin}, digest {entry[120:].hex()}, signed, and stamped on {text.splitlines()[0]}")
parser = argparse.ArgumentParser(description=__doc__)
for name in "receipt", "--ca", "--head-key", "--digest", "--statement", "--export":
    parser.add_argument(name, **({"required": True} if name in ("--ca", "--head-key") else {}))
try:
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        verify(args, place + "/")
    if args.statement: replay(args.statement, args.export)
except (ValueError, LookupError, OSError) as error:
    sys.exit(f"FAILED: {error}")
