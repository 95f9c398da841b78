// Judges signed notes and proofs of trees with Go's own implementation. It reads cases as JSON from its input and
// writes, for each, the text of a note or "ok", or "" if it refuses the case.
package main

import (
	"encoding/json"
	"os"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type head struct {
	Size int64
	Root []byte
}

type testCase struct {
	// A note and the keys that may have signed it.
	Note string
	Keys []string
	// An inclusion proof, or a consistency proof if First is given.
	Proof  [][]byte
	Index  int64
	Leaf   []byte
	First  *head
	Second *head
}

func hashOf(data []byte) (hash tlog.Hash) {
	copy(hash[:], data)
	return
}

func openNote(c testCase) string {
	var verifiers []note.Verifier
	for _, key := range c.Keys {
		verifier, err := note.NewVerifier(key)
		if err != nil {
			return ""
		}
		verifiers = append(verifiers, verifier)
	}
	opened, err := note.Open([]byte(c.Note), note.VerifierList(verifiers...))
	if err != nil {
		return ""
	}
	return opened.Text
}

func judge(c testCase) string {
	if c.Second == nil {
		return openNote(c)
	}
	var hashes []tlog.Hash
	for _, hash := range c.Proof {
		hashes = append(hashes, hashOf(hash))
	}
	var err error
	if c.First != nil {
		err = tlog.CheckTree(hashes, c.Second.Size, hashOf(c.Second.Root), c.First.Size, hashOf(c.First.Root))
	} else {
		err = tlog.CheckRecord(hashes, c.Second.Size, hashOf(c.Second.Root), c.Index, tlog.RecordHash(c.Leaf))
	}
	if err != nil {
		return ""
	}
	return "ok"
}

func main() {
	var cases []testCase
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		panic(err)
	}
	verdicts := []string{}
	for _, c := range cases {
		verdicts = append(verdicts, judge(c))
	}
	if err := json.NewEncoder(os.Stdout).Encode(verdicts); err != nil {
		panic(err)
	}
}
