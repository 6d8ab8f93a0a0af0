// A judge of our logs that shares no code with them: Go's checksum-database packages.
//
//	judge DIRECTORY VKEY [EARLIER-SIZE EARLIER-ROOT-BASE64]
//
// Opens the checkpoint with a key given from outside, hashes every entry bundle in order, compares the root, then proves
// and checks a record, and the consistency of an earlier size. Exit 0: yes; 1: no, with the reason.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func no(format string, args ...interface{}) {
	fmt.Printf(format+"\n", args...)
	os.Exit(1)
}

func number(n int64) string {
	path := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	return path
}

func main() {
	directory, vkey := os.Args[1], os.Args[2]
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		no("key: %v", err)
	}
	data, err := os.ReadFile(filepath.Join(directory, "checkpoint"))
	if err != nil {
		no("checkpoint: %v", err)
	}
	signed, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		no("checkpoint: %v", err)
	}
	lines := strings.Split(signed.Text, "\n")
	if lines[0] != verifier.Name() {
		no("origin: %s", lines[0])
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		no("size: %v", err)
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		no("root: %v", err)
	}

	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			found[i] = hashes[index]
		}
		return found, nil
	})
	var first []byte
	for n := int64(0); n < size; {
		path := filepath.Join(directory, "tile", "entries", number(n/256))
		width := size - n
		if width >= 256 {
			width = 256
		} else {
			path = fmt.Sprintf("%s.p/%d", path, width)
		}
		bundle, err := os.ReadFile(path)
		if err != nil {
			no("bundle: %v", err)
		}
		for i := int64(0); i < width; i++ {
			if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
				no("bundle %s ends within entry %d", path, n)
			}
			length := int(binary.BigEndian.Uint16(bundle))
			entry := bundle[2 : 2+length]
			bundle = bundle[2+length:]
			if n == 0 {
				first = entry
			}
			more, err := tlog.StoredHashes(n, entry, reader)
			if err != nil {
				no("entry %d: %v", n, err)
			}
			hashes = append(hashes, more...)
			n++
		}
		if len(bundle) != 0 {
			no("bundle %s goes on after its entries", path)
		}
	}
	computed, err := tlog.TreeHash(size, reader)
	if err != nil || computed != root {
		no("root: the entries give %v, the checkpoint says %v (%v)", computed, root, err)
	}
	proof, err := tlog.ProveRecord(size, 0, reader)
	if err != nil {
		no("inclusion: %v", err)
	}
	if err := tlog.CheckRecord(proof, size, root, 0, tlog.RecordHash(first)); err != nil {
		no("inclusion: %v", err)
	}
	if len(os.Args) > 4 {
		earlier, _ := strconv.ParseInt(os.Args[3], 10, 64)
		before, err := tlog.ParseHash(os.Args[4])
		if err != nil {
			no("earlier root: %v", err)
		}
		tree, err := tlog.ProveTree(size, earlier, reader)
		if err != nil {
			no("consistency: %v", err)
		}
		if err := tlog.CheckTree(tree, size, root, earlier, before); err != nil {
			no("consistency: %v", err)
		}
	}
	fmt.Printf("yes %d\n", size)
}
