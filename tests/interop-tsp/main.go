// Command interop-tsp asks the appliance for timestamps with digitorus/timestamp, as signing tools written in Go do, and
// verifies what it gets with nothing of ours: signature and imprint by that library, the chain by Go's own x509.
package main

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"time"

	"github.com/digitorus/timestamp"
)

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		fmt.Println("FAILED:", err)
		os.Exit(1)
	}
}

func that(holds bool, what string) {
	if !holds {
		check(fmt.Errorf("it does not hold: %s", what))
	}
}

func ask(client *http.Client, query []byte) []byte {
	answer := must(client.Post(os.Getenv("PECHAT_URL")+"/tsa", "application/timestamp-query", bytes.NewReader(query)))
	defer answer.Body.Close()
	that(answer.StatusCode == 200, answer.Status)
	return must(io.ReadAll(answer.Body))
}

func stamped(client *http.Client, roots *x509.CertPool, hash crypto.Hash) {
	message := []byte("a decision of the land register")
	nonce := must(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64)))
	query := must(timestamp.CreateRequest(bytes.NewReader(message), &timestamp.RequestOptions{
		Hash: hash, Nonce: nonce, Certificates: true,
		TSAPolicyOID: asn1.ObjectIdentifier{0, 4, 0, 2023, 1, 1},
	}))
	token := must(timestamp.ParseResponse(ask(client, query)))
	digest := hash.New()
	digest.Write(message)
	that(bytes.Equal(token.HashedMessage, digest.Sum(nil)), "the imprint is the message's")
	that(token.HashAlgorithm == hash, "the hash asked for")
	that(token.Nonce.Cmp(nonce) == 0, "the nonce asked for")
	that(token.Policy.String() == "0.4.0.2023.1.1", "the policy asked for")
	that(token.Accuracy > 0 && token.Accuracy <= time.Second, "an accuracy of 1 s or better")
	that(!token.Ordering, "no promise of order")
	that(time.Since(token.Time).Abs() < time.Minute, "it is from now")
	others := x509.NewCertPool()
	for _, certificate := range token.Certificates {
		others.AddCert(certificate)
	}
	units := 0
	for _, certificate := range token.Certificates {
		if certificate.IsCA {
			continue
		}
		units++
		must(certificate.Verify(x509.VerifyOptions{
			Roots: roots, Intermediates: others, CurrentTime: token.Time,
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping},
		}))
	}
	that(units == 1, "one unit's certificate")
}

func main() {
	roots := x509.NewCertPool()
	that(roots.AppendCertsFromPEM(must(os.ReadFile(os.Getenv("PECHAT_CA")))), "a root")
	identity := must(tls.LoadX509KeyPair(os.Getenv("PECHAT_CERT"), os.Getenv("PECHAT_KEY")))
	config := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{identity}}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: time.Minute}
	for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		stamped(client, roots, hash)
	}
	weak := must(timestamp.CreateRequest(bytes.NewReader([]byte("x")), &timestamp.RequestOptions{Hash: crypto.SHA1}))
	_, err := timestamp.ParseResponse(ask(client, weak))
	that(err != nil, "SHA-1 is refused")
	fmt.Println("3 tokens verified; SHA-1:", err)
}
