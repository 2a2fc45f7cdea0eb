// Reader verifies a log, or one receipt, with packages the ledger's authors did not write: notes
// and proofs are checked by golang.org/x/mod/sumdb, which knows nothing of effects.
//
//	reader -vkey FILE -log URL [-at NOTE] [-since NOTE] [-records N]
//	reader -vkey FILE -receipt PROOF -entry ENTRY
//
// It prints one JSON object and ends with 0; or says what it refuses, and ends with 1.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
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

const (
	height = 8
	width  = 1 << height
)

var (
	vkeyFile = flag.String("vkey", "", "file with the verifier key of the log")
	logURL   = flag.String("log", "", "prefix of the log; LOG_TOKEN is sent as a bearer token")
	atFile   = flag.String("at", "", "read the log at this checkpoint and not at its newest")
	since    = flag.String("since", "", "a checkpoint that the log must extend")
	records  = flag.Int64("records", 64, "how many records are proved, from the first to the last")
	receipt  = flag.String("receipt", "", "file with a tlog-proof")
	entry    = flag.String("entry", "", "file with the entry it proves")
)

// found is what was verified.
type found struct {
	Origin  string `json:"origin"`
	Size    int64  `json:"size"`
	Root    string `json:"root"`
	Entries int64  `json:"entries"`
	Proved  int64  `json:"proved"`
	Extends int64  `json:"extends"`
}

func main() {
	flag.Parse()
	result, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "refused:", err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(result)
}

func run() (*found, error) {
	vkey, err := os.ReadFile(*vkeyFile)
	if err != nil {
		return nil, err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(vkey)))
	if err != nil {
		return nil, err
	}
	if *receipt != "" {
		return checkReceipt(verifier)
	}
	return checkLog(verifier)
}

// ---- A log -------------------------------------------------------------------------------

func checkLog(verifier note.Verifier) (*found, error) {
	signed, err := newestOrKept()
	if err != nil {
		return nil, err
	}
	tree, err := openCheckpoint(signed, verifier)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	result := &found{Origin: verifier.Name(), Size: tree.N, Root: tree.Hash.String()}
	if tree.N == 0 {
		if tree.Hash != tlog.Hash(sha256.Sum256(nil)) {
			return nil, errors.New("the empty tree has another root")
		}
		return result, nil
	}

	hashes := tlog.TileHashReader(tree, &tiles{kept: map[tlog.Tile][]byte{}})
	leaves, err := checkEntries(tree, hashes)
	if err != nil {
		return nil, err
	}
	result.Entries = int64(len(leaves))
	if result.Proved, err = proveRecords(tree, hashes, leaves); err != nil {
		return nil, err
	}
	if *since != "" {
		if result.Extends, err = proveExtends(tree, hashes, verifier); err != nil {
			return nil, fmt.Errorf("since %s: %w", *since, err)
		}
	}
	return result, nil
}

func newestOrKept() ([]byte, error) {
	if *atFile != "" {
		return os.ReadFile(*atFile)
	}
	return fetch("checkpoint")
}

// checkEntries recomputes the hash of every record from the bundles, compares each with the one in
// the tiles, and the root over all of them with the one that is signed.
func checkEntries(tree tlog.Tree, hashes tlog.HashReader) ([]tlog.Hash, error) {
	var leaves, stored []tlog.Hash
	memory := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		read := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			read[i] = stored[index]
		}
		return read, nil
	})
	for first := int64(0); first < tree.N; first += width {
		count := min(width, tree.N-first)
		path := tilePath("entries", first/width, count)
		bundle, err := fetch(path)
		if err != nil {
			return nil, err
		}
		entries, err := split(bundle)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if int64(len(entries)) != count {
			return nil, fmt.Errorf("%s: %d entries instead of %d", path, len(entries), count)
		}
		indexes := make([]int64, count)
		for i := range indexes {
			indexes[i] = tlog.StoredHashIndex(0, first+int64(i))
		}
		tiled, err := hashes.ReadHashes(indexes)
		if err != nil {
			return nil, err
		}
		for i, each := range entries {
			leaf := tlog.RecordHash(each)
			if leaf != tiled[i] {
				return nil, fmt.Errorf("%s: entry %d is not the one in the tree", path, first+int64(i))
			}
			added, err := tlog.StoredHashesForRecordHash(first+int64(i), leaf, memory)
			if err != nil {
				return nil, err
			}
			stored = append(stored, added...)
			leaves = append(leaves, leaf)
		}
	}
	root, err := tlog.TreeHash(tree.N, memory)
	if err != nil {
		return nil, err
	}
	if root != tree.Hash {
		return nil, errors.New("the entries lead to another root than the one that is signed")
	}
	return leaves, nil
}

// proveRecords builds and checks the proofs of records at even distances.
func proveRecords(tree tlog.Tree, hashes tlog.HashReader, leaves []tlog.Hash) (int64, error) {
	count := min(*records, tree.N)
	for i := int64(0); i < count; i++ {
		at := tree.N - 1
		if count > 1 {
			at = i * (tree.N - 1) / (count - 1)
		}
		proof, err := tlog.ProveRecord(tree.N, at, hashes)
		if err != nil {
			return i, err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, at, leaves[at]); err != nil {
			return i, fmt.Errorf("record %d: %w", at, err)
		}
	}
	return count, nil
}

// proveExtends builds and checks the proof that the tree begins with an older one.
func proveExtends(tree tlog.Tree, hashes tlog.HashReader, verifier note.Verifier) (int64, error) {
	signed, err := os.ReadFile(*since)
	if err != nil {
		return 0, err
	}
	older, err := openCheckpoint(signed, verifier)
	if err != nil || older.N == 0 {
		// Every tree begins with the empty one, and tlog has no proof of it.
		return 0, err
	}
	if older.N > tree.N {
		return 0, fmt.Errorf("%d entries were signed, and now there are %d", older.N, tree.N)
	}
	proof, err := tlog.ProveTree(tree.N, older.N, hashes)
	if err != nil {
		return 0, err
	}
	return older.N, tlog.CheckTree(proof, tree.N, tree.Hash, older.N, older.Hash)
}

// ---- A receipt ---------------------------------------------------------------------------

func checkReceipt(verifier note.Verifier) (*found, error) {
	text, err := os.ReadFile(*receipt)
	if err != nil {
		return nil, err
	}
	record, err := os.ReadFile(*entry)
	if err != nil {
		return nil, err
	}
	head, signed, divided := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if !divided || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return nil, errors.New("not a tlog-proof")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	if err != nil {
		return nil, err
	}
	var proof tlog.RecordProof
	for _, line := range lines[2:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return nil, err
		}
		proof = append(proof, hash)
	}
	tree, err := openCheckpoint([]byte(signed), verifier)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(record)); err != nil {
		return nil, err
	}
	result := &found{Origin: verifier.Name(), Size: tree.N, Root: tree.Hash.String(), Proved: 1}
	return result, nil
}

// ---- Parts -------------------------------------------------------------------------------

// openCheckpoint returns the tree that a signed note states.
func openCheckpoint(signed []byte, verifier note.Verifier) (tlog.Tree, error) {
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, errors.New("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 {
		return tlog.Tree{}, fmt.Errorf("not a size: %s", lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

// tiles reads the tiles that tlog asks for, and keeps those it found to be good.
type tiles struct {
	kept map[tlog.Tile][]byte
}

func (t *tiles) Height() int { return height }

func (t *tiles) ReadTiles(asked []tlog.Tile) ([][]byte, error) {
	read := make([][]byte, len(asked))
	for i, tile := range asked {
		data, ok := t.kept[tile]
		if !ok {
			var err error
			if data, err = fetch(tilePath(strconv.Itoa(tile.L), tile.N, int64(tile.W))); err != nil {
				return nil, err
			}
		}
		read[i] = data
	}
	return read, nil
}

func (t *tiles) SaveTiles(good []tlog.Tile, data [][]byte) {
	for i, tile := range good {
		t.kept[tile] = data[i]
	}
}

// tilePath is the path that C2SP tlog-tiles gives a tile; tlog's own paths name the height too.
func tilePath(level string, index, count int64) string {
	path := fmt.Sprintf("%03d", index%1000)
	for index /= 1000; index > 0; index /= 1000 {
		path = fmt.Sprintf("x%03d/%s", index%1000, path)
	}
	if count < width {
		path = fmt.Sprintf("%s.p/%d", path, count)
	}
	return "tile/" + level + "/" + path
}

// split takes a bundle apart.
func split(bundle []byte) ([][]byte, error) {
	var entries [][]byte
	for rest := bytes.NewReader(bundle); rest.Len() > 0; {
		var length uint16
		if err := binary.Read(rest, binary.BigEndian, &length); err != nil {
			return nil, err
		}
		entry := make([]byte, length)
		if _, err := io.ReadFull(rest, entry); err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

func fetch(path string) ([]byte, error) {
	request, err := http.NewRequest(http.MethodGet, strings.TrimSuffix(*logURL, "/")+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	if token := os.Getenv("LOG_TOKEN"); token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, response.Status)
	}
	return io.ReadAll(response.Body)
}

func min(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}
