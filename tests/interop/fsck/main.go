// Fsck has a log checked by the library that other logs are checked with: every tile and the root
// are derived anew from the entries, and compared with what is there.
//
//	fsck -vkey FILE -log http://... | file:///...
//
// LOG_TOKEN is sent as a bearer token. Ends with 1, and says why, where anything differs.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
)

var (
	vkeyFile = flag.String("vkey", "", "file with the verifier key of the log")
	logURL   = flag.String("log", "", "prefix of the log")
)

const workers = 4

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "refused:", err)
		os.Exit(1)
	}
	fmt.Println("good")
}

func run() error {
	vkey, err := os.ReadFile(*vkeyFile)
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(vkey)))
	if err != nil {
		return err
	}
	source, err := open(*logURL)
	if err != nil {
		return err
	}
	checker := fsck.New(verifier.Name(), verifier, source, leaves, fsck.Opts{N: workers})
	return checker.Check(context.Background())
}

func open(where string) (fsck.Fetcher, error) {
	parsed, err := url.Parse(strings.TrimSuffix(where, "/") + "/")
	if err != nil {
		return nil, err
	}
	if parsed.Scheme == "file" {
		return &client.FileFetcher{Root: parsed.Path}, nil
	}
	fetcher, err := client.NewHTTPFetcher(parsed, nil)
	if err != nil {
		return nil, err
	}
	if token := os.Getenv("LOG_TOKEN"); token != "" {
		fetcher.SetAuthorizationHeader("Bearer " + token)
	}
	return fetcher, nil
}

func leaves(bundle []byte) ([][]byte, error) {
	var entries api.EntryBundle
	if err := entries.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	var hashes [][]byte
	for _, entry := range entries.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}
