"""Refuses words and turns of phrase that readers stumbled over; each comes with what to say instead.
Usage: words.py TREE"""

import pathlib
import re
import sys

SAY_INSTEAD = [
    (r"\b(null|empty|nothing|zero|false|true|infinite|no-op|none|NaN|negative|only|even|also) where\b", "if, when"),
    (r"\bErrors?:[^.;]*\bk[A-Z]\w+ where\b", "if"),
    (r"\bwhere (there (is|are) no|not\b|it can\b|they can\b)", "if"),
    (r"\bbrothers\b", "sibling modules"),
    (r"\btake_news\b", "take_log_message"),
    (r"\bwithout a word\b", "what happens instead: unnoticed, closes the connection"),
    (r"\ba row of (units|layers)\b", "a sequence of"),
    (r"\bcut anew\b", "re-sharded"),
    (r'\bthat cannot be(:|"|$)', "invalid, with type and size"),
    (r"\bthat part are noticed\b", "diverged replicas are detected"),
    (r"\bends the others with\b", "ends the other ranks with"),
]
ENDINGS = {".h", ".cpp", ".cu", ".md"}
FOLDERS = "core recipe data models optim comm parallel train jobs export launch bench docs".split()


def main():
    root = pathlib.Path(sys.argv[1])
    files = [f for name in FOLDERS for f in sorted((root / name).rglob("*")) if f.suffix in ENDINGS]
    files += [f for f in (root / "README.md", root / "CONTRIBUTING.md") if f.exists()]
    if not files:
        return f"words: nothing to read below {root}"
    problems = []
    for file in files:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            for pattern, say in SAY_INSTEAD:
                if re.search(pattern, line, re.IGNORECASE):
                    problems.append(f"{file}:{number}: {line.strip()}\n    say: {say}")
    if problems:
        return "\n".join(problems)
    print(f"words: {len(files)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
