#!/usr/bin/env python3
"""Verifies, without the gateway, that an account's log contains an event.

usage: ledger-verify.py KEY PROOF

KEY is a file with the log's verifying keys, one a line: <name>+<key id>+<base64>.
PROOF is a file with a proof (c2sp.org/tlog-proof). If everything in it holds, the
canonical text of the event is printed and the exit code is 0. It needs the program
openssl (3.0 or newer) and nothing else.
"""
import base64, hashlib, os, subprocess, sys, tempfile


def require(condition, complaint):
    if not condition:
        sys.exit("NOT VERIFIED: " + complaint)


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def decode(text):
    return base64.b64decode(text, validate=True)


def sha256(data):
    return hashlib.sha256(data).digest()


def signed_by(public_key, text, signature):
    """Whether openssl accepts the Ed25519 signature. The prefix is that of RFC 8410."""
    with tempfile.TemporaryDirectory() as folder:
        def keep(name, data):
            path = os.path.join(folder, name)
            with open(path, "wb") as file:
                file.write(data)
            return path
        key = keep("key", bytes.fromhex("302a300506032b6570032100") + public_key)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", key, "-rawin",
                   "-in", keep("text", text.encode()), "-sigfile", keep("signature", signature)]
        return subprocess.run(command, capture_output=True).returncode == 0


def root_of(index, size, leaf_hash, path):
    """RFC 9162, section 2.1.3.2."""
    fn, sn, hash = index, size - 1, leaf_hash
    for sibling in path:
        require(sn > 0, "the proof has too many hashes")
        if fn % 2 == 1 or fn == sn:
            hash = sha256(b"\x01" + sibling + hash)
            while fn % 2 == 0 and fn > 0:
                fn, sn = fn // 2, sn // 2
        else:
            hash = sha256(b"\x01" + hash + sibling)
        fn, sn = fn // 2, sn // 2
    require(sn == 0, "the proof has too few hashes")
    return hash


def main(key_file, proof_file):
    # The keys, by name and id: an id is the beginning of a hash of the name and the bytes.
    keys = {}
    for line in read(key_file).split():
        name, key_id, key = line.split("+", 2)
        key = decode(key)
        require(key[:1] == b"\x01" and len(key) == 33, "the key is no Ed25519 key")
        require(sha256(name.encode() + b"\n" + key)[:4].hex() == key_id, "the id is not the key's")
        keys[name, key_id] = key[1:]

    # The proof: a header, an empty line, and the checkpoint.
    header, checkpoint = read(proof_file).split("\n\n", 1)
    version, extra, index, *path = header.split("\n")
    require(version == "c2sp.org/tlog-proof@v1", "this is no proof")
    require(extra.startswith("extra ") and index.startswith("index "), "the proof lacks a line")
    leaf, index, path = decode(extra[6:]), int(index[6:]), [decode(line) for line in path]

    # The checkpoint: the text that is signed, an empty line, and the signatures.
    text, signatures = checkpoint.rsplit("\n\n", 1)
    text += "\n"
    origin, size, root = text.split("\n")[:3]
    size, root = int(size), decode(root)
    require(origin in [name for name, _ in keys], "the checkpoint is another log's")
    ours = [line.split(" ") for line in signatures.split("\n") if line.startswith("— " + origin + " ")]
    ours = [decode(line[2]) for line in ours]
    ours = [(keys.get((origin, one[:4].hex())), one[4:]) for one in ours]
    ours = [(key, signature) for key, signature in ours if key]
    require(ours and all(signed_by(key, text, one) for key, one in ours), "the key did not sign the checkpoint")

    # The event is in the tree that was signed, and at the position that it states.
    require(0 <= index < size, "the log has no such position")
    require(root_of(index, size, sha256(b"\x00" + leaf), path) == root, "the log does not contain the event")
    lines = leaf.decode("ascii").split("\n")
    require(lines[0] == "kyc-gateway event v1", "the event has an unknown form")
    require(lines[2] == "position %d" % index, "the event is not the one of this position")
    sys.stdout.write(leaf.decode("ascii"))


if __name__ == "__main__":
    require(len(sys.argv) == 3, __doc__)
    try:
        main(*sys.argv[1:])
    except (ValueError, UnicodeError) as error:
        sys.exit("NOT VERIFIED: malformed: %s" % error)
