// Opens a root checkpoint with Go's own note package and the transparency-dev verifiers: neither is ours.
package main

import (
	"fmt"
	"os"

	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// stranger CHECKPOINT LOG-VKEY WITNESS-VKEY
func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		fail(err)
	}
	log, err := fnote.NewVerifier(os.Args[2])
	if err != nil {
		fail(fmt.Errorf("log vkey: %w", err))
	}
	witness, err := fnote.NewVerifierForCosignatureV1(os.Args[3])
	if err != nil {
		fail(fmt.Errorf("witness vkey: %w", err))
	}
	opened, err := note.Open(text, note.VerifierList(log, witness))
	if err != nil {
		fail(err)
	}
	fmt.Printf("%d verified, %d unknown\n", len(opened.Sigs), len(opened.UnverifiedSigs))
	for _, sig := range opened.Sigs {
		if at, err := fnote.CoSigV1Timestamp(sig); err == nil && sig.Name == witness.Name() {
			fmt.Printf("cosigned at %d\n", at.Unix())
		}
	}
}
