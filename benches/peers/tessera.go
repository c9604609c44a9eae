// Command peers measures Tessera's POSIX log: appends of one digest each by closed loops, answered when the entry
// is integrated, a signed checkpoint over it is published and its inclusion proof is in hand, which is what
// a receipt of ours holds (beside its RFC 3161 token). It prints one line: appends/s, p50 and p99 in microseconds.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// proofs keeps one proof builder for each checkpoint, so that a tile is read once for all entries under it.
type proofs struct {
	tiles  client.TileFetcherFunc
	mutex  sync.Mutex
	bySize map[uint64]*builder
}

type builder struct {
	mutex sync.Mutex
	inner *client.ProofBuilder
}

func (p *proofs) path(ctx context.Context, size, index uint64) [][]byte {
	p.mutex.Lock()
	under := p.bySize[size]
	if under == nil {
		under = &builder{inner: must(client.NewProofBuilder(ctx, size, p.tiles))}
		p.bySize[size] = under
	}
	p.mutex.Unlock()
	under.mutex.Lock()
	defer under.mutex.Unlock()
	return must(under.inner.InclusionProof(ctx, index))
}

// one appends a digest and returns when its proof verifies.
func one(ctx context.Context, appender *tessera.Appender, awaiter *tessera.PublicationAwaiter, proofs *proofs) {
	digest := make([]byte, 32)
	must(rand.Read(digest))
	index, checkpoint, err := awaiter.Await(ctx, appender.Add(ctx, tessera.NewEntry(digest)))
	must(index, err)
	var origin, root string
	var size uint64
	must(fmt.Sscanf(string(checkpoint), "%s\n%d\n%s\n", &origin, &size, &root))
	path := proofs.path(ctx, size, index.Index)
	proof := make(tlog.RecordProof, len(path))
	for at, hash := range path {
		proof[at] = tlog.Hash(hash)
	}
	leaf := tlog.RecordHash(digest)
	if err := tlog.CheckRecord(proof, int64(size), must(tlog.ParseHash(root)), int64(index.Index), leaf); err != nil {
		log.Fatal(err)
	}
}

func main() {
	dir := flag.String("dir", "", "an empty directory on the disk to measure")
	loops := flag.Int("loops", 64, "appends under way at once")
	seconds := flag.Int("seconds", 6, "how long")
	flag.Parse()
	ctx := context.Background()

	secret, _, err := note.GenerateKey(rand.Reader, "peer.example/log")
	signer := must(note.NewSigner(must(secret, err)))
	driver := must(posix.New(ctx, posix.Config{Path: *dir}))
	// 100 ms is the shortest checkpoint interval that Tessera's POSIX log takes; batches do not wait for more.
	options := tessera.NewAppendOptions().WithCheckpointSigner(signer).
		WithCheckpointInterval(100*time.Millisecond).WithBatching(uint(min(*loops, 1024)), 2*time.Millisecond)
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, options)
	must(shutdown, err)
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, time.Millisecond)

	proofs := &proofs{tiles: reader.ReadTile, bySize: map[uint64]*builder{}}
	var mutex sync.Mutex
	var latencies []time.Duration
	var group sync.WaitGroup
	start := time.Now()
	end := start.Add(time.Duration(*seconds) * time.Second)
	for range *loops {
		group.Add(1)
		go func() {
			defer group.Done()
			for time.Now().Before(end) {
				began := time.Now()
				one(ctx, appender, awaiter, proofs)
				mutex.Lock()
				latencies = append(latencies, time.Since(began))
				mutex.Unlock()
			}
		}()
	}
	group.Wait()
	took := time.Since(start).Seconds()
	slices.Sort(latencies)
	at := func(share float64) int64 { return latencies[int(share*float64(len(latencies)-1))].Microseconds() }
	if _, err := os.Stat(filepath.Join(*dir, "checkpoint")); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.1f %d %d\n", float64(len(latencies))/took, at(0.5), at(0.99))
}
