// Command stranger checks an appliance with Go's own notes and tiles (golang.org/x/mod/sumdb) and nothing of ours:
// the root log's checkpoint, its consistency with an older one, and one receipt, first from its own paths and
// then from tiles read over plain HTTP. It says what holds; the first thing that does not ends it with status 1.
package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const entryBytes = 152

// headKey verifies lines of C2SP type 0x02: an ECDSA signature over the text.
type headKey struct {
	name string
	key  *ecdsa.PublicKey
	hash uint32
}

func (k headKey) Name() string    { return k.name }
func (k headKey) KeyHash() uint32 { return k.hash }
func (k headKey) Verify(text, signature []byte) bool {
	digest := sha256.Sum256(text)
	return ecdsa.VerifyASN1(k.key, digest[:], signature)
}

func must[T any](value T, err error) T {
	check("", err)
	return value
}

func check(what string, err error) {
	if err != nil {
		fmt.Println("FAILED:", strings.TrimSpace(what+" "+err.Error()))
		os.Exit(1)
	}
	if what != "" {
		fmt.Println("holds:", what)
	}
}

func that(holds bool, what string) {
	if !holds {
		check(what+":", errors.New("it does not hold"))
	}
	check(what, nil)
}

func readKey(file, origin string) headKey {
	block, _ := pem.Decode(must(os.ReadFile(file)))
	if block == nil {
		check("key:", errors.New("no PEM in "+file))
	}
	key, ok := must(x509.ParsePKIXPublicKey(block.Bytes)).(*ecdsa.PublicKey)
	if !ok {
		check("key:", errors.New("not an ECDSA key"))
	}
	hash := sha256.Sum256(block.Bytes)
	return headKey{origin, key, binary.BigEndian.Uint32(hash[:4])}
}

// tree reads origin, size and root: the first three lines of a checkpoint or a head.
func tree(text string) (origin string, tree tlog.Tree) {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 {
		check("head:", errors.New("too short"))
	}
	tree.N = must(strconv.ParseInt(lines[1], 10, 64))
	tree.Hash = must(tlog.ParseHash(lines[2]))
	return lines[0], tree
}

func openCheckpoint(text []byte, key headKey) tlog.Tree {
	opened := must(note.Open(text, note.VerifierList(key)))
	origin, at := tree(opened.Text)
	that(origin == key.name && len(opened.Sigs) == 1, fmt.Sprintf("checkpoint of %s at %d, signed with the head key", origin, at.N))
	return at
}

func fetch(url string) ([]byte, error) {
	answer, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, answer.Status)
	}
	return io.ReadAll(answer.Body)
}

// tiles reads one log's tiles over HTTP at their C2SP paths, which are Go's without the height.
type tiles struct{ prefix string }

func (t tiles) Height() int                     { return 8 }
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range wanted {
		bytes, err := fetch(t.prefix + "/" + strings.Replace(tile.Path(), "tile/8/", "tile/", 1))
		if err != nil {
			return nil, err
		}
		data = append(data, bytes)
	}
	return data, nil
}

// bundled is leaf number n of a log of the given size, from its entry bundle.
func bundled(prefix string, size, n int64) []byte {
	tile := tlog.Tile{H: 8, L: 0, N: n / 256, W: 256}
	if left := size - 256*tile.N; left < 256 {
		tile.W = int(left)
	}
	rest := must(fetch(prefix + "/" + strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1)))
	for skip := n % 256; ; skip-- {
		if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
			check("bundle:", errors.New("it ends early"))
		}
		length := int(binary.BigEndian.Uint16(rest))
		if skip == 0 {
			return rest[2 : 2+length]
		}
		rest = rest[2+length:]
	}
}

type receipt struct {
	entry       []byte
	head        string
	journalPath tlog.RecordProof
	index       int64
	rootPath    tlog.RecordProof
	checkpoint  []byte
}

func readReceipt(file string) (r receipt) {
	text := string(must(os.ReadFile(file)))
	proof, checkpoint, found := strings.Cut(text, "\n\n")
	lines := strings.Split(proof, "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		check("receipt:", errors.New("not a tlog-proof"))
	}
	r.checkpoint = []byte(checkpoint)
	extra := must(base64.StdEncoding.Strict().DecodeString(strings.TrimPrefix(lines[1], "extra ")))
	r.index = must(strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64))
	for _, line := range lines[3:] {
		r.rootPath = append(r.rootPath, must(tlog.ParseHash(line)))
	}
	if len(extra) < entryBytes+6 {
		check("receipt:", errors.New("extra is too short"))
	}
	r.entry, extra = extra[:entryBytes], extra[entryBytes:]
	length := int(binary.BigEndian.Uint32(extra))
	if length > len(extra)-6 {
		check("receipt:", errors.New("the head is cut"))
	}
	r.head, extra = string(extra[4:4+length]), extra[4+length+2:]
	for ; len(extra) >= tlog.HashSize; extra = extra[tlog.HashSize:] {
		r.journalPath = append(r.journalPath, *(*tlog.Hash)(extra[:tlog.HashSize]))
	}
	return r
}

func main() {
	url := flag.String("url", "", "the public listener")
	keyFile := flag.String("key", "", "the journal-head key, PEM")
	receiptFile := flag.String("receipt", "", "a receipt, C2SP tlog-proof")
	origin := flag.String("origin", "", "the root log's origin line")
	vkey := flag.String("vkey", "", "the root log's Ed25519 verifier key, where it has one")
	flag.Parse()
	if *vkey != "" {
		verifier := must(note.NewVerifier(*vkey))
		opened := must(note.Open(must(fetch(*url+"/root/checkpoint")), note.VerifierList(verifier)))
		named, at := tree(opened.Text)
		that(named == *origin && len(opened.Sigs) == 1, fmt.Sprintf("checkpoint at %d, opened with the Ed25519 verifier key", at.N))
	}
	key := readKey(*keyFile, *origin)

	r := readReceipt(*receiptFile)
	old := openCheckpoint(r.checkpoint, key)
	check("the receipt's head in its checkpoint", tlog.CheckRecord(r.rootPath, old.N, old.Hash, r.index, tlog.RecordHash([]byte(r.head))))
	journal, head := tree(r.head)
	seq := int64(binary.BigEndian.Uint64(r.entry[48:56]))
	leaf := tlog.RecordHash(r.entry)
	check(fmt.Sprintf("entry %d in the receipt's head", seq), tlog.CheckRecord(r.journalPath, head.N, head.Hash, seq, leaf))

	prefix := *url + "/root"
	now := openCheckpoint(must(fetch(prefix+"/checkpoint")), key)
	reader := tlog.TileHashReader(now, tiles{prefix})
	consistency := must(tlog.ProveTree(now.N, old.N, reader))
	check(fmt.Sprintf("the checkpoint at %d continues the one at %d", now.N, old.N), tlog.CheckTree(consistency, now.N, now.Hash, old.N, old.Hash))
	inclusion := must(tlog.ProveRecord(now.N, r.index, reader))
	check("the head under the newest checkpoint, by tiles", tlog.CheckRecord(inclusion, now.N, now.Hash, r.index, tlog.RecordHash([]byte(r.head))))
	that(bytes.Equal(bundled(prefix, now.N, r.index), []byte(r.head)), "the head stands in its entry bundle")

	// The journal's newest head is found in the root log alone.
	var newest tlog.Tree
	for n := int64(0); n < now.N; n++ {
		text := bundled(prefix, now.N, n)
		if name, at := tree(string(text)); name == journal {
			check("", tlog.CheckRecord(must(tlog.ProveRecord(now.N, n, reader)), now.N, now.Hash, n, tlog.RecordHash(text)))
			that(at.N > newest.N, fmt.Sprintf("%s grows to %d", journal, at.N))
			newest = at
		}
	}
	_, name, _ := strings.Cut(journal, "/")
	leaves := tlog.TileHashReader(newest, tiles{*url + "/" + name})
	check("the entry under the journal's newest head, by tiles", tlog.CheckRecord(must(tlog.ProveRecord(newest.N, seq, leaves)), newest.N, newest.Hash, seq, leaf))
	check("the journal continues the receipt's head", tlog.CheckTree(must(tlog.ProveTree(newest.N, head.N, leaves)), newest.N, newest.Hash, head.N, head.Hash))
	fmt.Println("PASSED")
}
