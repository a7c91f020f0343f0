#!/usr/bin/env python3
"""Writes small vocabularies and, beside them, the ids that the package tokenizers gives for texts.

Usage: make_tokenizers.py, with the packages of tests/engines/requirements.txt. Writes into its own folder:
*.json and byte_bpe.gguf, and ids.json: [{"file", "text" (hexadecimal), "ids", "special"}, ...].
"""
import json
import pathlib
import sys
from collections import Counter

import gguf
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "engines"))
import tokenizer_texts  # noqa: E402

LINES = 30
MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def byte_bpe(pre_tokenizer, **model):
    made = Tokenizer(models.BPE(**model))
    made.pre_tokenizer = pre_tokenizer
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=MARKS, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    made.train_from_iterator(tokenizer_texts.texts(300, seed=5), trainer)
    return made


def smollm():
    return byte_bpe(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                             pre_tokenizers.ByteLevel(add_prefix_space=False)]))


def llama3():
    made = byte_bpe(pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
                                             pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]),
                    ignore_merges=True)
    made.normalizer = normalizers.NFC()
    made.add_special_tokens([AddedToken("<mask>", lstrip=True, rstrip=True, special=True)])
    made.add_tokens([AddedToken("two words", normalized=False)])
    made.post_processor = processors.TemplateProcessing(single="<|im_start|> $A",
                                                        special_tokens=[("<|im_start|>", 1)])
    return made


def bert(cased):
    normalizer, pre_tokenizer = normalizers.BertNormalizer(lowercase=not cased), pre_tokenizers.BertPreTokenizer()
    words, pieces = Counter(), Counter()
    for text in tokenizer_texts.texts(300, seed=7):
        for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text)):
            words[word] += 1
            pieces.update([word[0]] + ["##" + word[i:j] for i in range(1, len(word)) for j in (i + 1, i + 3)])
    # The trainer of the package draws, so that its vocabulary is another one each time.
    often = [t for counts, n in ((pieces, 400), (words, 150)) for t, _ in sorted(
        counts.items(), key=lambda item: (-item[1], item[0]))[:n]]
    vocab = {t: i for i, t in enumerate(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + often))}
    made = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizer, pre_tokenizer
    made.add_special_tokens(list(vocab)[:5])
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made


def write_gguf(made, path):
    """The vocabulary as llama.cpp's converter writes it."""
    saved = json.loads(made.to_str())
    tokens = sorted(saved["model"]["vocab"], key=saved["model"]["vocab"].get)
    out = gguf.GGUFWriter(path, "llama")
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("smollm")
    out.add_token_list(tokens)
    out.add_token_types([gguf.TokenType.CONTROL if t in MARKS else gguf.TokenType.NORMAL for t in tokens])
    out.add_token_merges([" ".join(m) for m in saved["model"]["merges"]])
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_chat_template("{{ messages }}")
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.close()


def entries(file, made, texts, special):
    made.encode_special_tokens = not special
    return [{"file": file, "text": t.encode().hex(), "special": special,
             "ids": made.encode(t, add_special_tokens=False).ids} for t in texts]


def main():
    texts = tokenizer_texts.texts(LINES, seed=6) + ["", " ", "  a", "hello two words <mask> <|im_end|>."]
    marked = [MARKS[i % 3].join((t[:5], t[5:])) for i, t in enumerate(texts)]
    out = []
    for name, made in [("smollm.json", smollm()), ("llama3.json", llama3())]:
        made.save(str(HERE / name), pretty=False)
        out += entries(name, made, texts, False) + entries(name, made, marked, True)
    for name, made in [("bert.json", bert(False)), ("bert_cased.json", bert(True))]:
        made.save(str(HERE / name), pretty=False)
        out += entries(name, made, texts, False) + entries(name, made, [t + "[SEP]a[MASK]" for t in texts], True)
    made = smollm()
    write_gguf(made, str(HERE / "byte_bpe.gguf"))
    out += entries("byte_bpe.gguf", made, texts, False) + entries("byte_bpe.gguf", made, marked, True)
    (HERE / "ids.json").write_text("[\n" + ",\n".join(map(json.dumps, out)) + "\n]\n")


if __name__ == "__main__":
    main()
