#!/usr/bin/env bash
# Writes the King James Bible as plain text, out of the Debian packages bible-kjv and
# bible-kjv-text: a heading per chapter ("Genesis 1"), a verse a line, a blank line between chapters.
# A whole file that is already there is kept.
# Usage: launch/prepare_kjv.sh [FILE]      (default: data/cache/kjv/kjv.txt)
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-data/cache/kjv/kjv.txt}
verses=31102
chapters=1189

if [ -s "$out" ]; then
  echo "$out: already there ($(wc -c <"$out") bytes)"
  exit 0
fi
command -v bible >/dev/null || {
  echo "prepare_kjv.sh: no program 'bible': apt-get install bible-kjv bible-kjv-text" >&2
  exit 1
}

books="Genesis,Exodus,Leviticus,Numbers,Deuteronomy,Joshua,Judges,Ruth,1 Samuel,2 Samuel,1 Kings,\
2 Kings,1 Chronicles,2 Chronicles,Ezra,Nehemiah,Esther,Job,Psalm,Proverbs,Ecclesiastes,\
Song of Solomon,Isaiah,Jeremiah,Lamentations,Ezekiel,Daniel,Hosea,Joel,Amos,Obadiah,Jonah,Micah,\
Nahum,Habakkuk,Zephaniah,Haggai,Zechariah,Malachi,Matthew,Mark,Luke,John,Acts,Romans,\
1 Corinthians,2 Corinthians,Galatians,Ephesians,Philippians,Colossians,1 Thessalonians,\
2 Thessalonians,1 Timothy,2 Timothy,Titus,Philemon,Hebrews,James,1 Peter,2 Peter,1 John,2 John,\
3 John,Jude,Revelation"

mkdir -p "$(dirname "$out")"
temporary=$out.tmp.$$
trap 'rm -f "$temporary"' EXIT
# A line reads "Ge1:1 In the beginning ..."; books are named in order, by the change of the prefix.
bible -f 'gen1:1-rev22:21' | awk -v books="$books" -v verses="$verses" -v chapters="$chapters" '
  BEGIN { split(books, name, ",") }
  {
    colon = index($1, ":")
    chapter = substr($1, 1, colon - 1)
    if (chapter != previous) {
      number = chapter
      sub(/^[0-9]?[A-Za-z]+/, "", number)
      prefix = substr(chapter, 1, length(chapter) - length(number))
      if (prefix != book) { book = prefix; ++b }
      if (NR > 1) print ""
      print name[b] " " number
      previous = chapter
      ++c
    }
    print substr($0, length($1) + 2)
  }
  END {
    if (NR != verses || c != chapters || b != 66) {
      printf "prepare_kjv.sh: %d verses, %d chapters, %d books instead of %d, %d, 66\n",
             NR, c, b, verses, chapters > "/dev/stderr"
      exit 1
    }
  }' >"$temporary"
sync "$temporary"
mv "$temporary" "$out"
echo "$out: $chapters chapters, $verses verses, $(wc -c <"$out") bytes"
