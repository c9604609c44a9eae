#!/usr/bin/env python3
"""Verifies Pechat evidence with Python and openssl alone: a receipt, an export or part of a journal, the folders of
`pechat audit export`, or what `pechat audit life --json` said. docs/formats/journal.md says what is checked and why.
With --statement (and the receipt of that statement) also that both roots in it, SHA-256 and SHA3-256, are those of the
entries of --export; a folder that has them needs no option for that.
NOT checked: revocation of the token's certificates (`openssl crl` reads the *.crl files of a folder)."""
import argparse, base64, calendar, hashlib, json, os, re, subprocess, sys, tempfile

ENTRY, ZEROS = 152, bytes(32)
KINDS = {1: "charter", 2: "seal", 3: "own record", 6: "epoch change", 9: "freeze", 10: "hand-over"}
PROOF = ["head", "root_index", "root_path", "checkpoint"]
WHOLE = ["origin", "charter", "count"] + PROOF
PART = ["origin", "charter", "opening", "opening_path", "first", "count", "range_path"] + PROOF


def need(holds, reason):
    if not holds:
        raise ValueError(reason)


def sha(data):
    return hashlib.sha256(data).digest()


def sha3(data):
    return hashlib.sha3_256(data).digest()


def leaf(data, hash=sha):
    return hash(b"\0" + data)


def b64(text):
    data = base64.b64decode(text, validate=True)
    need(base64.b64encode(data).decode() == text, "base64 in another form than the one it has")
    return data


def unhex(text):
    data = bytes.fromhex(text)
    need(data.hex() == text, "hex in another form than lower case")
    return data


def number(text):
    need(text.isascii() and text.isdigit() and str(int(text)) == text, f"{text!r} is no number")
    return int(text)


# Trees: RFC 6962


class Tree:
    """The roots of the maximal complete subtrees of the first `size` leaves."""

    def __init__(self, size=0, nodes=(), hash=sha):
        self.size, self.nodes, self.hash = size, list(nodes), hash
        need(len(self.nodes) == size.bit_count(), "the path has too many or too few hashes")

    def add(self, node, level=0):
        count = self.size >> level
        while count & 1:
            node, count = self.hash(b"\1" + self.nodes.pop() + node), count >> 1
        self.nodes.append(node)
        self.size += 1 << level

    def root(self):
        root = self.nodes[-1]
        for left in reversed(self.nodes[:-1]):
            root = self.hash(b"\1" + left + root)
        return root

    def fill(self, nodes, size):
        """The right side of a range path."""
        for node in nodes:
            need(self.size < size, "the path has too many hashes")
            free = (size - self.size).bit_length() - 1
            zeros = (self.size & -self.size).bit_length() - 1 if self.size else free
            self.add(node, min(zeros, free))
        need(self.size == size, "the path has too few hashes")


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
    need(last == 0 and node == root, f"{what}: the path does not lead to the root")


def continues(what, old, old_root, new, new_root, path):  # RFC 9162 section 2.1.4.2
    need(old <= new, f"{what}: {new} entries cannot follow {old}")
    if old == new:
        return need(not path and old_root == new_root, f"{what}: two roots of {old} entries")
    path = [old_root] * (old & (old - 1) == 0) + path
    need(path, f"{what}: there is no path")
    index, last = old - 1, new - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        need(last > 0, f"{what}: the path is too long")
        if index & 1 or index == last:
            first, second = sha(b"\1" + sibling + first), sha(b"\1" + sibling + second)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            second = sha(b"\1" + second + sibling)
        index, last = index >> 1, last >> 1
    need(last == 0 and first == old_root and second == new_root, f"{what}: the newer one does not continue the older")


# Heads and checkpoints


def read_head(text):
    origin, size, root, after, end = text.split("\n")
    need(after[:6] == "after " and end == "" and re.fullmatch("[0-9a-f]{64}", after[6:]), "a head of another form")
    need(len(b64(root)) == 32, "a head of another form")
    return origin, number(size), b64(root), unhex(after[6:])


class Appliance:
    """What the auditor trusts, and what is known of the one root log. Each note is given to openssl once."""

    def __init__(self, args, place):
        self.args, self.place, self.notes, self.roots, self.times = args, place, {}, {}, {}
        pem = open(args.head_key).read()
        self.spki = base64.b64decode("".join(pem.split("-----")[2].split()))

    def openssl(self, what, *words):
        run = subprocess.run(["openssl", *words], capture_output=True, text=True)
        need(run.returncode == 0, f"{what}: openssl says {' '.join((run.stdout + run.stderr).split())}")
        return run.stdout

    def file(self, name, data):
        with open(self.place + name, "wb") as file:
            file.write(data)
        return self.place + name

    def checkpoint(self, note):
        """Signature and token of a note: origin, size, root, genTime in words, in µs, accuracy in µs, token."""
        if note in self.notes:
            return self.notes[note]
        body, lines = note.rsplit("\n\n", 1)
        name, size, root = body.split("\n")
        need(name[-5:] == "/root" and len(b64(root)) == 32, "no checkpoint of a root log")
        values = {}
        need(lines.endswith("\n"), "the checkpoint's last line has no end")
        for line in lines[:-1].split("\n"):
            dash, owner, value = line.split(" ")
            need(dash == "\u2014", "a signature line of another form")
            values.setdefault((owner, b64(value)[:4]), b64(value)[4:])
        signature, token = (values.get((name, sha(key)[:4])) for key in (self.spki, name.encode() + b"\n\xffrfc3161"))
        need(signature, "the checkpoint has no signature line of this key")
        need(token, "the checkpoint has no token line of this key")
        text = self.file("body", body.encode() + b"\n")
        signed = "-verify", self.args.head_key, "-signature", self.file("signature", signature), text
        self.openssl("signature", "dgst", "-sha256", *signed)
        token_file = self.file("token", token)
        said = self.openssl("token", "ts", "-reply", "-token_in", "-in", token_file, "-text")
        words = re.search("^Time stamp: (.*)$", said, re.M).group(1)
        time, accuracy = moment(words), margin(said)
        at = "-attime", str(time // 1000000)
        trust = "-data", text, "-CAfile", self.args.ca, *at
        self.openssl("token", "ts", "-verify", "-token_in", "-in", token_file, *trust)
        found = name, number(size), b64(root), words, time, accuracy, token
        need(self.roots.setdefault((name, found[1]), found[2]) == found[2], f"two roots of {size} heads: a fork")
        self.times.setdefault(name, {})[found[1]] = time, accuracy
        self.notes[note] = found
        return found

    def head(self, proof):
        """A journal's head up to the signed and stamped checkpoint."""
        origin, size, root, after = read_head(proof["head"])
        found = self.checkpoint(proof["checkpoint"])
        need(origin.startswith(found[0][:-4] + "j/"), "head and checkpoint are of different appliances")
        path = [unhex(step) for step in proof["root_path"]]
        climb("head in checkpoint", leaf(proof["head"].encode()), proof["root_index"], found[1], path, found[2])
        return origin, size, root, after, found

    def in_order(self):
        """A checkpoint of more heads was never stamped earlier."""
        for name, times in self.times.items():
            before = 0
            for size, (time, accuracy) in sorted(times.items()):
                need(time >= before, f"{name}: the token over {size} heads is older than one over fewer: time ran back")
                before = time


def moment(words):
    """`Nov 24 21:00:00.123 2026 GMT`, as openssl prints it, in microseconds."""
    month, day, clock, year, _ = words.split()
    hour, minute, second = clock.split(":")
    whole, _, fraction = second.partition(".")
    months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
    parts = int(year), months.index(month) + 1, int(day), int(hour), int(minute), int(whole)
    return calendar.timegm(parts) * 1000000 + int((fraction + "000000")[:6])


def margin(said):
    found = re.search(r"^Accuracy: (\w+) seconds, (\w+) millis, (\w+) micros", said, re.M)
    parts = [0 if part == "unspecified" else int(part, 0) for part in found.groups()] if found else [0, 0, 0]
    return parts[0] * 1000000 + parts[1] * 1000 + parts[2] or 1000000


# Receipts


def receipt(text, trust, digest=None):
    proof, note = text.split("\n\n", 1)
    label, extra, index, *root_path = proof.split("\n")
    need(label == "c2sp.org/tlog-proof@v1" and extra[:6] == "extra " and index[:6] == "index ", "not a receipt")
    extra, end = b64(extra[6:]), 156 + int.from_bytes(b64(extra[6:])[152:156], "big")
    entry, head, path = extra[:152], extra[156:end], [extra[i : i + 32] for i in range(end + 2, len(extra), 32)]
    need(len(extra) == end + 2 + 32 * int.from_bytes(extra[end : end + 2], "big"), "the extra data ends early or late")
    proof = {"head": head.decode(), "root_index": number(index[6:]), "checkpoint": note}
    proof["root_path"] = [b64(step).hex() for step in root_path]
    origin, size, root, _ = read_head(proof["head"])
    known = entry[:48] == b"pechat/entry/v1\n" + sha(origin.encode()) and entry[118:120] == b"\0\1"
    need(known and int.from_bytes(entry[100:102], "big") in KINDS, "another version or journal")
    need((digest or entry[120:].hex()).lower() == entry[120:].hex(), f"the receipt is for digest {entry[120:].hex()}")
    seq, time, bound = (int.from_bytes(entry[a:b], "big") for a, b in ((48, 56), (88, 96), (96, 100)))
    climb("entry in journal head", leaf(entry), seq, size, path, root)
    checkpoint = trust.head(proof)[4]
    need(time - bound <= checkpoint[4] + checkpoint[5], f"entry {seq} claims to be from after its token")
    return entry, origin, seq, checkpoint


# Statements of own.twins


class Twins:
    """Both roots of each tree in a statement, by origin, and the root log that the statement is sealed in."""

    def __init__(self, statement, proof, trust):
        entry, origin, _, checkpoint = receipt(proof, trust, sha(statement.encode()).hex())
        need(origin == checkpoint[0][:-4] + "j/own.twins", f"the receipt is of {origin}, not of a statement of own.twins")
        said = json.loads(statement)
        again = json.dumps(said, separators=(",", ":"), ensure_ascii=False)
        need(again == statement and list(said) == ["event", "algorithm", "trees"], "the statement is not in its one form")
        need((said["event"], said["algorithm"]) == ("twin-roots", "sha3-256"), "another version of statement")
        trees, self.log, self.trees = said["trees"], checkpoint[0], {}
        names = [tree["origin"] for tree in trees]
        need(0 < len(names) <= 400 and names == sorted(set(names)), "the statement's trees are not in order")
        for tree in trees:
            need(list(tree) == ["origin", "size", "root", "twin"] and type(tree["size"]) is int, "the statement's form")
            need(tree["size"] > 0, "the statement's form")
            self.trees[tree["origin"]] = tree["size"], unhex(tree["root"]), unhex(tree["twin"])

    def of(self, origin, log):
        need(log == self.log, f"export and statement are of different root logs, {log} and {self.log}")
        need(origin in self.trees, f"the statement says nothing of {origin}")
        return self.trees[origin]


# Exports


class Facts:
    """What an export proves."""


def read_header(file):
    label = file.readline(32)
    need(label in (b"pechat-export v1\n", b"pechat-range v1\n"), "neither a pechat-export v1 nor a pechat-range v1")
    line = file.readline(256 * 1024)
    header = json.loads(line)
    again = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
    part = label == b"pechat-range v1\n"
    need(again == line and list(header) == (PART if part else WHOLE), "the header is not in its one form")
    for name in ("count", "first", "root_index"):
        need(isinstance(header.get(name, 0), int), f"the header's {name} is no number")
    return header, part, len(label) + len(line)


def export(path, trust, heads=(), twins=None):
    """Replays every entry. `heads`: (size, root) of the journal's heads in the root log, by size. `twins`: a statement."""
    with open(path, "rb") as file:
        header, part, start = read_header(file)
        origin, size, root, _, checkpoint = trust.head(header)
        charter, journal = header["charter"], sha(origin.encode())
        form = r"pechat charter v1\norigin ([!-~]+)\ninstitution (\S+)\ndigest sha256\nopened (\S+)\n"
        opened = re.fullmatch(form, charter)
        need(opened and opened.group(1) == origin == header["origin"], "the charter is not that of this journal")
        own, opening = opened.group(2) == "-", sha(charter.encode())
        first, count = header.get("first", 0), header["count"]
        need(0 <= first and 0 < count <= size - first and (part or count == size), "the count is not that of the head")
        tree, right, prev = Tree(), [], opening if first == 0 else None
        if part:
            entry = unhex(header["opening"])
            rules(entry, journal, 0, own, opening)
            need(entry[56:88] == entry[120:] == opening, "entry 0 does not commit to the charter")
            climb("opening", leaf(entry), 0, size, [unhex(step) for step in header["opening_path"]], root)
            nodes, left = [unhex(step) for step in header["range_path"]], first.bit_count()
            tree, right = Tree(first, nodes[:left]), nodes[left:]
        facts, before, seals, epochs, wanted = Facts(), 0, 0, [], dict(heads)
        controls, frozen, second = {}, None, Tree(hash=sha3)
        twin = twins and twins.of(origin, checkpoint[0])
        covered = twin and first == 0 and twin[0] <= count
        need(not twin or part or covered, f"the statement covers {twin and twin[0]} entries, the export has {count}")
        for seq in range(first, first + count):
            place = f"entry {seq}, at byte {start + (seq - first) * ENTRY}"
            entry = file.read(ENTRY)
            need(len(entry) == ENTRY, f"{place}: the file ends here, but announces {count} entries")
            try:
                time, kind = rules(entry, journal, seq, own, opening)
                need(prev is None or entry[56:88] == prev, "it, or the one before it, was altered: its prev is another")
                need(time >= before, "its time is before that of the entry before it")
                need(frozen is None, f"it stands after the final record, entry {frozen}")
            except ValueError as error:
                raise ValueError(f"{place}: {error}")
            before, prev, facts.last = time, leaf(entry), entry
            tree.add(prev)
            seals += kind == 2
            if kind in (9, 10):
                controls[seq] = entry[120:]
                frozen = seq if kind == 9 else None
            if kind == 6:
                need(entry[102:118] == entry[120:136], f"{place}: the request id is not that of its statement")
                epochs.append((seq, entry[120:]))
            if covered and seq < twin[0]:
                second.add(leaf(entry, sha3))
                for name, tree_of, stated in (("SHA-256", tree, twin[1]), ("SHA3-256", second, twin[2])):
                    need(tree.size < twin[0] or tree_of.root() == stated, f"{place}: the {name} root is not the stated one")
            if tree.size in wanted:
                need(tree.root() == wanted[tree.size], f"{place}: the root log has another root of {tree.size} entries")
        need(not file.read(1), f"there are bytes behind entry {first + count - 1}")
    tree.fill(right, size)
    need(tree.root() == root, f"entry {first + count - 1} or the run that ends with it was altered: another root")
    bound = int.from_bytes(facts.last[96:100], "big")
    need(before - bound <= checkpoint[4] + checkpoint[5], "the last entry claims to be from after the head's token")
    facts.__dict__.update(origin=origin, first=first, count=count, size=size, root=root, epochs=epochs, own=own)
    facts.__dict__.update(header=header, checkpoint=checkpoint, seals=seals, whole=not part, controls=controls)
    facts.__dict__.update(twin=twin, covered=covered)
    return facts


def rules(entry, journal, seq, own, opening):
    """What an entry must be by itself; its time and kind."""
    need(len(entry) == ENTRY and entry[:16] == b"pechat/entry/v1\n", "it is no entry of version 1")
    need(entry[16:48] == journal, "it belongs to another journal")
    found = int.from_bytes(entry[48:56], "big")
    need(found == seq, f"its sequence number is {found}: something is missing or moved")
    kind, algorithm = int.from_bytes(entry[100:102], "big"), entry[118:120]
    need(kind in KINDS and algorithm == b"\0\1", "its kind or algorithm has no meaning in version 1")
    need((kind == 1) == (seq == 0), "a charter stands in entry 0 and nowhere else")
    need(kind != 1 or entry[56:88] == entry[120:] == opening, "it does not commit to the charter")
    need(kind != (2 if own else 3), f"a {KINDS[kind]} in a journal of the other sort")
    time = int.from_bytes(entry[88:96], "big")
    need(time < 1 << 63, "its time is beyond the calendar")
    return time, kind


def digest_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def listed(folder, index):
    """The files that an index names, each as it says."""
    names = {}
    for line in open(os.path.join(folder, index)):
        digest, name = line.rstrip("\n").split("  ")
        need(".." not in name and name[0] != "/", f"{index} names {name}")
        need(digest_of(os.path.join(folder, name)) == digest, f"{name} is not the file that {index} names")
        names[name] = digest
    return names


def folder(path, trust, heads=()):
    """One journal's folder."""
    names = listed(path, "MANIFEST")
    where = lambda name: os.path.join(path, name)
    read = lambda name: open(where(name), "rb").read().decode()
    need("journal.export" in names, "there is no journal.export")
    twins = None
    if "twin.json" in names:
        need("twin-receipt.txt" in names, "nothing says that twin.json was sealed: there is no twin-receipt.txt")
        twins = Twins(read("twin.json"), read("twin-receipt.txt"), trust)
    facts = export(where("journal.export"), trust, heads, twins)
    for seq, digest in facts.controls.items():
        said = names.get(f"statement-{seq}.json")
        need(said in (None, digest.hex()), f"statement-{seq}.json is not what entry {seq} was sealed for")
    if "receipt.txt" in names:
        entry, origin, *_ = receipt(read("receipt.txt"), trust)
        need(origin == facts.origin and entry == facts.last, "receipt.txt is not that of the last entry")
    if "head.json" in names:
        origin, size, root, *_ = trust.head(json.loads(read("head.json")))
        need(origin == facts.origin, "head.json is of another journal")
        steps = json.loads(read("consistency.json")) if size != facts.size else {"old": size, "new": size, "path": []}
        need((steps["old"], steps["new"]) == (facts.size, size), "consistency.json is of other sizes")
        continues("head.json", facts.size, facts.root, size, root, [unhex(step) for step in steps["path"]])
    if "checkpoint.txt" in names:
        found = trust.checkpoint(read("checkpoint.txt"))
        need(found[0] == facts.checkpoint[0] and found[1] >= facts.checkpoint[1], "checkpoint.txt is older or of another log")
    return facts


def tell(facts):
    first, last = facts.first, facts.first + facts.count - 1
    what = f"{facts.count} entries" if facts.whole else f"entries {first} to {last}, a part,"
    print(f"  {what} of {facts.origin}, {facts.seals} seals, {len(facts.epochs)} epoch changes, head of {facts.size}, "
          f"stamped on {facts.checkpoint[3]}")
    if facts.twin:
        print(f"  {'' if facts.covered else 'NOT CHECKED, for it is not all here: '}{second_root(facts)}")


def second_root(facts):
    return f"sha3_256 root of the first {facts.twin[0]} is {facts.twin[2].hex()}"


def everything(path, trust):
    """Several journals and the root log they stand in."""
    names = listed(path, "JOURNALS")
    with open(os.path.join(path, "root.heads"), "rb") as file:
        need("root.heads" in names and file.readline() == b"pechat-heads v1\n", "root.heads is none")
        heads = []
        while length := file.read(2):
            text = file.read(int.from_bytes(length, "big"))
            need(len(length) == 2 and len(text) == int.from_bytes(length, "big"), "root.heads ends within a head")
            heads.append(text)
    need("checkpoint.txt" in names, "there is no checkpoint.txt")
    newest = trust.checkpoint(open(os.path.join(path, "checkpoint.txt"), "rb").read().decode())
    sizes, afters, last, tree = {}, {}, None, Tree()
    for index, text in enumerate(heads):
        origin, size, root, after = read_head(text.decode())
        known = sizes.setdefault(origin, {})
        need(origin.startswith(newest[0][:-4] + "j/"), f"root.heads: head {index} is of another appliance")
        need(not known or size > max(known, default=0), f"root.heads: head {index}: {origin} did not grow")
        known[size] = root
        need(after == last or after not in afters, f"root.heads: head {index} names an older token again: time ran back")
        afters.setdefault(after, index)
        last = after
    journals = [name[:-9] for name in sorted(names) if name.endswith("/MANIFEST")]
    every = {}
    for name in journals:
        try:
            facts = folder(os.path.join(path, name), trust, heads_of(os.path.join(path, name), sizes))
        except (ValueError, LookupError, OSError, TypeError, AttributeError) as error:
            raise ValueError(f"{name}: {error}")
        need(facts.origin not in every, f"{name}: {facts.origin} is there twice")
        every[facts.origin] = facts
        tell(facts)
    checked = {found[1]: found for found in trust.notes.values()}
    for text in heads:
        tree.add(leaf(text))
        if tree.size in checked:
            found = checked[tree.size]
            need(tree.root() == found[2], f"root.heads: the first {tree.size} heads have another root than their checkpoint")
            # A head that names this token was formed after it: it cannot be one of those the token covers.
            named = afters.get(sha(found[6]), tree.size)
            need(named >= tree.size, f"root.heads: head {named} names a token that is younger than it")
    need(tree.size == newest[1] and tree.root() == newest[2], "root.heads: not the heads of checkpoint.txt")
    for facts in every.values():
        index = facts.header["root_index"]
        need(index < len(heads) and heads[index].decode() == facts.header["head"], f"{facts.origin}: its head is not in root.heads")
    control(every, newest[0][:-4])
    for origin in sorted(set(sizes) - set(every)):
        print(f"  NOT IN THIS EXPORT: {origin}, {max(sizes[origin])} entries")
    return f"{len(every)} journals and the root log {newest[0]} of {newest[1]} heads, stamped on {newest[3]}"


def heads_of(path, sizes):
    with open(os.path.join(path, "journal.export"), "rb") as file:
        return sizes.get(read_header(file)[0]["origin"], {})


def control(every, site):
    """An epoch change says why in own.events."""
    events = every.get(site + "j/own.events")
    said = {statement for _, statement in events.epochs} if events and events.whole else None
    for facts in every.values():
        for seq, statement in facts.epochs:
            if said is None:
                print(f"  NOT CHECKED: why {facts.origin} has an epoch change in entry {seq}: no own.events here")
            else:
                need(statement in said, f"{facts.origin}, entry {seq}: own.events has no such epoch change")


def life(text, trust):
    """What `pechat audit life --json` said: each step by its own receipt, in order of time."""
    said = json.loads(text)
    need(said.get("format") == "pechat-life v1", "neither a receipt, an export, a folder nor a life")
    before = 0
    for step in said["steps"]:
        entry, origin, seq, _ = receipt(step["receipt"], trust)
        time, kind = (int.from_bytes(entry[a:b], "big") for a, b in ((88, 96), (100, 102)))
        found = origin, seq, time, kind, entry[102:118].hex(), entry[120:].hex()
        named = tuple(step[name] for name in ("origin", "seq", "time", "kind", "request_id", "digest"))
        need(found == named, f"entry {seq} of {origin} is not what the step says")
        if step["known"].startswith("step "):
            name = f"pechat life v1\n{said['rnu']}\n{number(step['known'][5:])}\n"
            need(entry[102:118] == sha(name.encode())[:16], f"entry {seq} of {origin} is not {step['known']}")
        need(time >= before, f"entry {seq} of {origin} is older than the step before it")
        before = time
    return f"life of {said['rnu']}: {len(said['steps'])} steps, each with its receipt"


def judge(args, place):
    trust, path = Appliance(args, place), args.evidence
    if os.path.isdir(path):
        need(not os.path.exists(os.path.join(path, "PLAN")), "an export that was stopped")
        if os.path.exists(os.path.join(path, "JOURNALS")):
            said = everything(path, trust)
        else:
            tell(facts := folder(path, trust))
            said = f"the folder of {facts.origin}"
    else:
        with open(path, "rb") as file:
            start = file.read(16)
        if start in (b"pechat-export v1", b"pechat-range v1\n"):
            tell(facts := export(path, trust))
            said = f"the export of {facts.origin}"
        elif start[:1] == b"{":
            said = life(open(path, "rb").read().decode(), trust)
        elif args.statement:
            read = lambda name: open(name, "rb").read().decode()
            facts = export(args.export, trust, (), Twins(read(args.statement), read(path), trust))
            need(facts.covered, "the part does not hold all entries below the stated roots")
            said = f"{facts.count} entries of {facts.origin}, {second_root(facts)}"
        else:
            entry, origin, seq, found = receipt(open(path, "rb").read().decode(), trust, args.digest)
            said = f"entry {seq} of {origin}, digest {entry[120:].hex()}, signed, and stamped on {found[3]}"
    trust.in_order()
    print(f"PASSED: {said}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("evidence", help="receipt, export, folder, or life (JSON)")
    parser.add_argument("--ca", required=True, help="root certificate, PEM")
    parser.add_argument("--head-key", required=True, help="key that signs checkpoints, PEM")
    parser.add_argument("--digest", help="of a receipt: the digest it must be for, hex")
    parser.add_argument("--statement", help="of a receipt: the twin.json it must be for")
    parser.add_argument("--export", help="with --statement: the export whose roots it states")
    args = parser.parse_args()
    if bool(args.statement) != bool(args.export):
        parser.error("--statement and --export go together")
    try:
        with tempfile.TemporaryDirectory() as place:
            judge(args, place + "/")
    except (ValueError, LookupError, OSError, TypeError, AttributeError) as error:
        sys.exit(f"FAILED: {error}")


main()
