#!/usr/bin/env python3
"""Judges a history of calls against the exported journal. Shares no code with the journal but SHA-256.

History: one JSON object a line, times in microseconds of one monotonic clock.
  {"call","start","end","ids":[hex],"digests":[hex],"outcome":"ok|conflict|fail|unknown","body":TEXT}
  {"seen","start","end","body":TEXT}      the journal's head, as GET .../checkpoint answered it
  {"witnessed":SIZE,"start","end"}        somebody outside holds a root checkpoint of so many heads
  {"fault":"kill-signer|kill-front|storage","start","end"}   storage: no call within may be acknowledged
Export and segments (optional, a directory): docs/formats/journal.md. Exit 0 and one line a rule, or 1 and the first violation.
"""
import base64, hashlib, json, os, sys

ENTRY = 152


def sha(data):
    return hashlib.sha256(data).digest()


def need(rule, holds, reason):
    if not holds:
        sys.exit(f"{rule} VIOLATED: {reason}")


def node(left, right):
    return sha(b"\1" + left + right)


def roots_at(leaves, sizes):
    """Root of the first n leaves for every n of sizes, in one pass: a stack of perfect subtrees."""
    wanted, found, stack = set(sizes), {}, []
    for count, leaf in enumerate(leaves, 1):
        stack.append(leaf)
        bits = count
        while not bits & 1:
            right = stack.pop()
            stack[-1] = node(stack[-1], right)
            bits >>= 1
        if count in wanted:
            root = stack[-1]
            for left in reversed(stack[:-1]):
                root = node(left, root)
            found[count] = root
    return found


def climb(leaf, index, size, path):
    """RFC 9162 section 2.1.3.2: the root that the path leads to, or None."""
    last = size - 1
    if index > last:
        return None
    for sibling in path:
        if last == 0:
            return None
        if index & 1 or index == last:
            leaf = node(sibling, leaf)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            leaf = node(leaf, sibling)
        index, last = index >> 1, last >> 1
    return leaf if last == 0 else None


def read_export(path):
    """I2: dense, each entry naming the one before it."""
    with open(path, "rb") as file:
        need("I2", file.readline() == b"pechat-export v1\n", "the file is no export")
        header = json.loads(file.readline())
        prev, journal = sha(header["charter"].encode()), sha(header["origin"].encode())
        leaves, entries, before, gaps, frozen = [], [], 0, [], False
        while raw := file.read(ENTRY):
            seq = len(leaves)
            need("I2", len(raw) == ENTRY and raw[16:48] == journal, f"entry {seq} is cut or of another journal")
            need("I2", int.from_bytes(raw[48:56], "big") == seq, f"a gap before entry {seq}")
            need("I2", raw[56:88] == prev, f"entry {seq} does not name its predecessor")
            kind = int.from_bytes(raw[100:102], "big")
            need("I2", kind in (1, 2, 3, 6, 9, 10) and not frozen, f"entry {seq} of kind {kind} stands after a freeze, or where it may not")
            frozen = kind == 9
            time = int.from_bytes(raw[88:96], "big")
            need("I14", time >= before, f"entry {seq} is older than the one before it")
            if kind == 6:
                gaps.append(seq)
            before, prev = time, sha(b"\0" + raw)
            leaves.append(prev)
            entries.append((raw[102:118].hex(), raw[120:152].hex()))
    need("I2", len(leaves) == header["count"], f"{len(leaves)} entries, {header['count']} announced")
    return header, leaves, entries, gaps


def gen_time(token, imprint):
    """RFC 3161 section 2.4.2: genTime follows imprint and serial number. None where a test's token has none."""
    at = token.find(imprint) + len(imprint)
    if token[at : at + 1] != b"\2":
        return None
    at += 2 + token[at + 1]
    text = token[at + 2 : at + 2 + token[at + 1]].decode()
    need("I14", token[at] == 0x18 and text.endswith("Z"), "a token without genTime")
    whole, _, fraction = text[:-1].partition(".")
    return int(whole) * 1000000 + int((fraction + "000000")[:6])


def writer_epochs(folder):
    """I14: the epoch of the log's records never falls; records are dense, each naming the one before it."""
    epoch, number, before, log = 0, 0, bytes(32), None
    for name in sorted(name for name in os.listdir(folder) if name.endswith(".seg")):
        data, at = open(os.path.join(folder, name), "rb").read(), 0
        while data[at : at + 4] == b"PWAL":
            head = data[at : at + 88]
            length = (88 + int.from_bytes(head[40:44], "big") + 32 + 511) // 512 * 512
            hash_ = data[at + length - 32 : at + length]
            if sha(head[:80])[:8] != head[80:88] or sha(data[at : at + length - 32]) != hash_:
                break  # a record cut off by a crash: nothing of it was acknowledged
            log = log or head[8:24]
            said, found = int.from_bytes(head[24:32], "big"), int.from_bytes(head[32:40], "big")
            place = f"record {found} at byte {at} of {name}"
            need("I14", head[8:24] == log and found == number and head[48:80] == before, f"{place} is of another log or place")
            need("I14", said >= epoch, f"{place} is of epoch {said}, after one of epoch {epoch}")
            epoch, number, before, at = said, number + 1, hash_, at + length
    return number


def main(history_path, export_path, segments=None):
    history = [json.loads(line) for line in open(history_path)]
    header, leaves, entries, gaps = read_export(export_path)
    records = writer_epochs(segments) if segments else 0
    calls = [line for line in history if "call" in line]
    oks = [call for call in calls if call["outcome"] == "ok"]

    places = {}
    for seq, (id_, digest) in enumerate(entries[1:], 1):
        need("I1", id_ not in places, f"id {id_} stands in entries {places.get(id_, (0,))[0]} and {seq}")
        places[id_] = (seq, digest)

    proofs, first_answer, sealed = [header], {}, {}
    for call in oks:
        answer = json.loads(call["body"])
        said = {}
        for run in answer["receipts"]:
            proofs.append(run)
            for k, entry in enumerate(run["entries"]):
                said[entry["request_id"]] = (run["first"] + k, entry["digest"])
        for id_, digest in zip(call["ids"], call["digests"]):
            need("I1", places.get(id_) == said.get(id_), f"call {call['call']}: {id_} acknowledged as {said.get(id_)}, recovered as {places.get(id_)}")
            need("I1", said[id_][1] == digest, f"call {call['call']}: {id_} was acknowledged for another digest")
            need("I10", sealed.setdefault(id_, digest) == digest, f"{id_} was acknowledged for two digests")
        key = (tuple(call["ids"]), tuple(call["digests"]))
        need("I10", first_answer.setdefault(key, call["body"]) == call["body"], f"call {call['call']}: other bytes for the same request")
    for call in calls:
        if call["outcome"] == "conflict":
            other = [i for i, d in zip(call["ids"], call["digests"]) if i in places and places[i][1] != d]
            need("I10", other, f"call {call['call']}: a conflict, but no id stands for another digest")

    seen = [line for line in history if "seen" in line]
    for line in seen:
        line["proof"] = json.loads(line["body"])
        proofs.append(line["proof"])
    heads, checkpoints, slots, stamped = {}, {}, {}, {}
    for proof in proofs:
        origin, size, root, after, end = proof["head"].split("\n")
        need("I2", origin == header["origin"] and after.startswith("after ") and end == "", "a head of another form or journal")
        size, root = int(size), base64.b64decode(root)
        need("I2", heads.setdefault(size, root) == root, f"two heads of {size} entries")
        body, lines = proof["checkpoint"].rsplit("\n\n", 1)
        name, root_size, root_hash = body.split("\n")
        root_size, root_hash, body = int(root_size), base64.b64decode(root_hash), body.encode() + b"\n"
        need("I2", checkpoints.setdefault(root_size, root_hash) == root_hash, f"two root checkpoints of {root_size} leaves")
        need("I2", slots.setdefault(proof["root_index"], proof["head"]) == proof["head"], f"two heads at root leaf {proof['root_index']}")
        path = [bytes.fromhex(step) for step in proof["root_path"]]
        reached = climb(sha(b"\0" + proof["head"].encode()), proof["root_index"], root_size, path)
        need("I2", reached == root_hash, f"the head of {size} entries does not stand in the root log of {root_size}")
        tokens = [base64.b64decode(line.split(" ")[2]) for line in lines.splitlines()]
        need("I3", any(sha(body) in token for token in tokens), f"no token over the root checkpoint of {root_size}")
        for time in (gen_time(token, sha(body)) for token in tokens if sha(body) in token):
            if time is not None:
                stamped[root_size] = min(time, stamped.get(root_size, time))
    before = 0
    for size, time in sorted(stamped.items()):
        need("I14", time >= before, f"the token over {size} heads is older than one over fewer")
        before = time
    need("I3", max(heads) <= len(leaves), f"a head of {max(heads)} entries left, {len(leaves)} were recovered")
    computed = roots_at(leaves, heads)
    for size, root in heads.items():
        need("I20", computed[size] == root, f"the replayed root of {size} entries is not the published one")
    ordered = sorted(seen, key=lambda line: line["start"])
    ends, newest = sorted(seen, key=lambda line: line["end"]), 0
    for line in ordered:
        while ends and ends[0]["end"] < line["start"]:
            newest = max(newest, int(ends.pop(0)["proof"]["head"].split("\n")[1]))
        size = int(line["proof"]["head"].split("\n")[1])
        need("I3", size >= newest, f"the published size fell from {newest} to {size}")

    # I15: whoever seals something new knows every head that somebody outside held by then, or a gap is on record.
    outside = [(line["end"], line["witnessed"]) for line in history if "witnessed" in line]
    size_of = lambda proof: int(proof["checkpoint"].split("\n")[1])
    outside += [(line["end"], size_of(line["proof"])) for line in seen]
    outside += [(call["end"], size_of(run)) for call in oks for run in json.loads(call["body"])["receipts"]]
    outside.sort(key=lambda pair: pair[0])
    tried, known, at = set(), 0, 0
    for call in sorted(calls, key=lambda call: call["start"]):
        while at < len(outside) and outside[at][0] < call["start"]:
            known, at = max(known, outside[at][1]), at + 1
        if call["outcome"] == "ok" and not tried.intersection(call["ids"]):
            for run in json.loads(call["body"])["receipts"]:
                fresh = run["root_index"] >= known or any(gap <= run["first"] for gap in gaps)
                need("I15", fresh, f"call {call['call']} was sealed as head {run['root_index']}, but {known} heads were known outside")
        tried.update(call["ids"])

    storage = [line for line in history if line.get("fault") == "storage"]
    for fault in storage:
        for call in oks:
            inside = fault["start"] <= call["start"] and call["end"] <= fault["end"]
            need("I17", not inside, f"call {call['call']} was acknowledged after the storage failed")
    ends = {call["ids"][0] for call in oks}
    open_ = [c["call"] for c in calls if c["outcome"] == "unknown" and c["ids"][0] not in ends]
    need("I16", not open_, f"calls never resolved: {open_[:5]}")
    kinds = {kind: sum(call["outcome"] == kind for call in calls) for kind in ("ok", "conflict", "fail", "unknown")}
    print(f"CONSISTENT: {len(leaves)} entries, calls {kinds}, {len(heads)} heads, {len(checkpoints)} checkpoints, "
          f"{len(seen)} sightings, {sum('fault' in line for line in history)} faults, {records} records: "
          "I1 I2 I3 I10 I14 I15 I16 I17 I20 hold")


if __name__ == "__main__":
    main(*sys.argv[1:])
