#!/usr/bin/env python3
"""Verifies the archive of a Pechat journal with Python and openssl alone; FORMAT.md says what is checked.

Every file against MANIFEST, every entry and its link, the tree's root, the way to the signed and stamped checkpoint,
signature, token and its certificates, hand-overs and the final record. Without --ca and --head-key the folder's own
certificates are used: then the folder vouches for itself, and their SHA-256 must be compared with published ones.
"""
import argparse, base64, calendar, hashlib, json, pathlib, re, subprocess, sys, tempfile, time

KINDS = {1: "charter", 2: "seal", 3: "own record", 6: "epoch change", 9: "freeze", 10: "hand-over"}


def sha(data):
    return hashlib.sha256(data).digest()


def need(holds, reason):
    if not holds:
        raise ValueError(reason)


def openssl(what, *words):
    run = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True)
    need(run.returncode == 0, f"{what}: openssl says {' '.join((run.stdout + run.stderr).split())}")
    return run.stdout


def moment(text):
    """Seconds since 1970 of openssl's `Nov 24 21:00:00.123 2026 GMT`."""
    return calendar.timegm(time.strptime(re.sub(r"\.\d+", "", text.strip()), "%b %d %H:%M:%S %Y GMT"))


def check_manifest(folder):
    names = []
    for line in (folder / "MANIFEST").read_text().splitlines():
        digest, name = line.split("  ")
        need("/" not in name, f"MANIFEST: {name} lies outside")
        need(sha((folder / name).read_bytes()).hex() == digest, f"{name} was altered: its SHA-256 is not {digest}")
        names.append(name)
    return names


class Tree:
    """RFC 6962 section 2.1: complete subtrees, largest first."""

    def __init__(self):
        self.count, self.stack = 0, []

    def append(self, leaf):
        self.stack.append(leaf)
        self.count += 1
        rest = self.count
        while not rest & 1:
            right = self.stack.pop()
            self.stack[-1] = sha(b"\1" + self.stack[-1] + right)
            rest >>= 1

    def root(self):
        root = self.stack[-1]
        for left in reversed(self.stack[:-1]):
            root = sha(b"\1" + left + root)
        return root


def climb(node, index, size, path):
    """RFC 9162 section 2.1.3.2: the root that the path leads to."""
    last = size - 1
    need(index <= last, "the head stands beyond the root log")
    for sibling in path:
        need(last > 0, "the path of the head is too long")
        left = index & 1 or index == last
        node = sha(b"\1" + (sibling + node if left else node + sibling))
        while left and not index & 1 and index:
            index, last = index >> 1, last >> 1
        index, last = index >> 1, last >> 1
    need(last == 0, "the path of the head is too short")
    return node


def replay(folder, names):
    """Header, root of the tree, owner and final record of journal.export."""
    with open(folder / "journal.export", "rb") as file:
        need(file.readline() == b"pechat-export v1\n", "journal.export is no export of version 1")
        header = json.loads(file.readline())
        charter = header["charter"].encode()
        need(charter.startswith(f"pechat charter v1\norigin {header['origin']}\n".encode()), "the charter is another's")
        owner = re.search(r"^institution (\S+)$", header["charter"], re.M).group(1)
        prev, journal, tree, last, frozen = sha(charter), sha(header["origin"].encode()), Tree(), 0, None
        while entry := file.read(152):
            seq = tree.count
            wrong = lambda what: f"entry {seq}: {what}"
            need(len(entry) == 152 and entry[:16] == b"pechat/entry/v1\n", wrong("is cut off or of another version"))
            need(entry[16:48] == journal, wrong("is of another journal"))
            need(int.from_bytes(entry[48:56], "big") == seq, wrong("stands out of order"))
            need(entry[56:88] == prev, wrong("does not name the entry before it"))
            moment_us, kind = int.from_bytes(entry[88:96], "big"), int.from_bytes(entry[100:102], "big")
            need(moment_us >= last, wrong("is older than the entry before it"))
            need(kind in KINDS and entry[118:120] == b"\0\1", wrong("has an unknown kind or digest algorithm"))
            need((seq == 0) == (kind == 1), wrong("a charter stands in entry 0 and nowhere else"))
            need(seq > 0 or entry[120:] == prev, wrong("does not commit to the charter"))
            need(frozen is None, wrong(f"stands after the final record, entry {frozen}"))
            if kind in (9, 10) and not (kind == 9 and f"statement-{seq}.json" not in names):
                owner = statement(folder, names, header["origin"], seq, kind, entry[120:], owner)
            frozen = seq if kind == 9 else None
            prev, last = sha(b"\0" + entry), moment_us
            tree.append(prev)
    need(tree.count == header["count"], f"{tree.count} entries, {header['count']} were announced")
    return header, tree.root(), owner, frozen


def statement(folder, names, origin, seq, kind, digest, owner):
    """The owner after a control entry, as its statement says."""
    name = f"statement-{seq}.json"
    need(name in names, f"entry {seq}: there is no {name}")
    text = (folder / name).read_bytes()
    need(sha(text) == digest, f"{name} is not what entry {seq} was sealed for")
    said = json.loads(text)
    event = {9: "journal-frozen", 10: "journal-handed-over"}[kind]
    need((said["event"], said["origin"], said["seq"]) == (event, origin, seq), f"{name} is about another entry")
    need(said["institution"] == owner, f"{name} is about a journal of {said['institution']}, it was {owner}'s")
    return said.get("to", owner)


def proof(header, root):
    """Body and signature lines of the checkpoint that the head leads to."""
    origin, size, head_root, after, end = header["head"].split("\n")
    need(origin == header["origin"] and after.startswith("after ") and end == "", "the head is another's")
    need(int(size) == header["count"] and base64.b64decode(head_root) == root, "the head's root is not that of the entries")
    body, lines = header["checkpoint"].rsplit("\n\n", 1)
    name, root_size, root_hash = body.split("\n")
    need(name.endswith("/root") and origin.startswith(name[:-4] + "j/"), "head and checkpoint are of different appliances")
    path = [bytes.fromhex(step) for step in header["root_path"]]
    reached = climb(sha(b"\0" + header["head"].encode()), header["root_index"], int(root_size), path)
    need(reached == base64.b64decode(root_hash), "the head does not stand in the root log")
    values = {(n, base64.b64decode(v)[:4]): base64.b64decode(v)[4:] for _, n, v in map(str.split, lines.splitlines())}
    return name, body.encode() + b"\n", values


def signatures(name, body, values, ca, key, folder, names, place):
    """Signature, token and the certificates under it, judged at the token's own time; that time."""
    spki = base64.b64decode("".join(pathlib.Path(key).read_text().split("-----")[2].split()))
    (place / "body").write_bytes(body)
    for file, of in ("signature", spki), ("token", name.encode() + b"\n\xffrfc3161"):
        value = values.get((name, sha(of)[:4]))
        need(value, f"the checkpoint has no {file} line of this key")
        (place / file).write_bytes(value)
    openssl("signature", "dgst", "-sha256", "-verify", key, "-signature", place / "signature", place / "body")
    text = openssl("token", "ts", "-reply", "-token_in", "-in", place / "token", "-text")
    stamped = text.split("Time stamp: ")[1].splitlines()[0]
    openssl("token", "ts", "-verify", "-attime", moment(stamped), "-token_in", "-in", place / "token", "-data", place / "body", "-CAfile", ca)
    lists, at = b"", moment(stamped)
    for crl in (crl for crl in names if crl.endswith(".crl")):
        pem = openssl(crl, "crl", "-inform", "DER", "-in", folder / crl)
        lists += pem.encode()
        at = max(at, moment(openssl(crl, "crl", "-inform", "DER", "-in", folder / crl, "-noout", "-lastupdate").split("=")[1]))
    need(lists, "the folder holds no revocation list")
    (place / "lists.pem").write_bytes(lists)
    chain = openssl("token", "pkcs7", "-inform", "DER", "-in", place / "token", "-print_certs")
    (place / "chain.pem").write_text(chain)
    for one in re.findall("-----BEGIN.*?-----END CERTIFICATE-----\n", chain, re.S):
        (place / "one.pem").write_text(one)
        openssl("a certificate of the token", "verify", "-attime", at, "-crl_check_all", "-CRLfile", place / "lists.pem",
                "-CAfile", ca, "-untrusted", place / "chain.pem", place / "one.pem")
    return stamped


def main(args):
    folder = pathlib.Path(args.folder)
    names = check_manifest(folder)
    header, root, owner, frozen = replay(folder, names)
    name, body, values = proof(header, root)
    ca, key = args.ca or folder / "root.pem", args.head_key or folder / "journal-head.pem"
    with tempfile.TemporaryDirectory() as place:
        stamped = signatures(name, body, values, ca, key, folder, names, pathlib.Path(place))
    end = "NOT FROZEN, entries may follow" if frozen is None else f"frozen, entry {frozen} is its final record"
    print(f"PASSED: {header['count']} entries of {header['origin']}, last of {owner}; {end}; signed, and stamped on {stamped}")
    if not (args.ca and args.head_key):
        print("by certificate and key of the folder itself; compare their SHA-256 with what the authority published:")
        for path in (ca, key):
            print(f"  {hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()}  {path}")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder")
parser.add_argument("--ca", help="root certificate (PEM), received another way")
parser.add_argument("--head-key", help="journal-head public key (PEM), received another way")
try:
    main(parser.parse_args())
except (ValueError, LookupError, OSError, AttributeError) as error:
    sys.exit(f"FAILED: {error}")
