"""What tests read of a checkpoint's manifest (train/checkpoint/manifest_text.cpp)."""

import json
import pathlib


def tensor_hashes(checkpoint):
    """name -> checksums of every tensor on the ranks that have it, as the manifest has them."""
    manifest = json.loads((pathlib.Path(checkpoint) / "manifest.json").read_text())
    found = {}
    for section in manifest["state"]:
        sums = section["xxh3"]
        each = len(section["ranks"]) * 16
        for i, name in enumerate(section["names"]):
            found[name] = found.get(name, ()) + (sums[i * each:(i + 1) * each],)
    return found
