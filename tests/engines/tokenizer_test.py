"""Token ids of SmolLM2's vocabulary beside those of other programs: tokenizer_test.py TOKEN_IDS.

10,000 lines of mixed languages and odd characters are encoded by the package tokenizers, by llama.cpp
(2,000 of them: it is asked over HTTP) and by TOKEN_IDS, from the GGUF file and from a tokenizer.json
that the package writes, plain and with special tokens in the text. Pre-tokenizers of other models (GPT-2,
Llama 3, Qwen2) are compared with the same vocabulary, WordPiece with one of its own, conversations with
the template in the GGUF file. Every difference is an error. Bytes that are no UTF-8, which the package
does not take, must come back when all of them have a token.
"""
import json
import os
import subprocess
import sys
import tempfile
import urllib.request

import gguf
import jinja2.sandbox
import tokenizers
import xllamacpp
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers, trainers

import smollm2
import tokenizer_texts

LINES = 10_000
LLAMA_LINES = 2_000
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def ours(program, path, texts, *options):
    lines = "".join((t if isinstance(t, bytes) else t.encode()).hex() + "\n" for t in texts)
    done = subprocess.run([program, path, *options], input=lines.encode(), check=True, stdout=subprocess.PIPE)
    ids, back = [], []
    for line in done.stdout.decode().splitlines():
        numbers, text = line.split("|")
        ids.append(list(map(int, numbers.split())))
        back.append(bytes.fromhex(text))
    return ids, back


def compare(name, texts, got, want):
    assert len(got) == len(want) == len(texts), f"{name}: {len(got)} lines, {len(want)} wanted"
    wrong = [i for i in range(len(texts)) if got[i] != want[i]]
    print(f"{name:44} {len(texts):6} lines, {sum(map(len, want)):8} tokens, {len(wrong)} differ")
    for i in wrong[:3]:
        print(f"  {texts[i]!r}\n    ours {got[i]}\n    want {want[i]}")
    return len(wrong)


def split(regex):
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(regex), "isolated"),
         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def variants(path):
    """tokenizer.json files with the vocabulary of SmolLM2, by name."""
    for name, pre, normal in [
            ("smollm", None, None), ("split gpt-2", split(GPT2), None), ("split llama 3", split(LLAMA3), None),
            ("split qwen2, NFC", split(QWEN2), normalizers.NFC()),
            ("byte level with a space", pre_tokenizers.ByteLevel(add_prefix_space=True), None),
            ("runs of digits", pre_tokenizers.Sequence(
                [pre_tokenizers.Digits(individual_digits=False),
                 pre_tokenizers.ByteLevel(add_prefix_space=False)]), None)]:
        made = smollm2.tokenizer(path)
        if pre is not None:
            made.pre_tokenizer = pre
        if normal is not None:
            made.normalizer = normal
        made.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>",
                                 AddedToken("<mask>", lstrip=True, rstrip=True, special=True)])
        made.add_tokens([AddedToken("extra token", normalized=False), AddedToken("extra", normalized=False)])
        yield name, made


def bert(cased):
    """A WordPiece vocabulary trained on other texts of the same kind."""
    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=not cased)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(tokenizer_texts.texts(3000, seed=3), trainers.WordPieceTrainer(
        vocab_size=8000, show_progress=False, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    return made


def with_marks(texts):
    marks = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", " \t<mask> \n", "extra token", "extra tok", "<|im_"]
    return [marks[i % len(marks)].join((t[:len(t) // 2], t[len(t) // 2:], "")) for i, t in enumerate(texts)]


def chats(texts):
    """Conversations of one to four messages, with and without a system message."""
    for i in range(0, len(texts) - 4, 4):
        roles = (["system"] if i % 3 == 0 else []) + ["user", "assistant", "user"]
        yield [{"role": role, "content": text} for role, text in zip(roles[:1 + i // 4 % 4], texts[i:])]


def compare_chats(program, path, made, texts):
    """The chat template of SmolLM2's own file, rendered by Jinja as transformers does."""
    template = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(
        gguf.GGUFReader(path).fields["tokenizer.chat_template"].contents())
    made.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    talks = list(chats(texts))
    want = [made.encode(template.render(messages=talk, add_generation_prompt=True), add_special_tokens=False).ids
            for talk in talks]
    return compare("conversations of SmolLM2", talks,
                   ours(program, path, [json.dumps(talk) for talk in talks], "chat")[0], want)


def llama_ids(path, texts):
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_ctx = 64
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    params.warmup = False
    server = xllamacpp.Server(params)
    out = []
    for text in texts:
        body = json.dumps({"content": text, "add_special": False, "parse_special": False}).encode()
        ask = urllib.request.Request(server.listening_address + "/tokenize", body,
                                     {"Content-Type": "application/json"})
        with urllib.request.urlopen(ask, timeout=60) as answer:
            out.append(json.load(answer)["tokens"])
    return out


def copy_with_pre(path, target, pre):
    """The GGUF file, said to be cut into words by another pre-tokenizer."""
    reader = gguf.GGUFReader(path)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value = pre if name == "tokenizer.ggml.pre" else field.contents()
        writer.add_key_value(name, value, field.types[0], sub_type=field.types[-1] if len(field.types) > 1 else None)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def compare_pre(program, path, texts):
    """Every pre-tokenizer that a GGUF file can name here, beside llama.cpp."""
    failed = 0
    # Across a byte without a token the package tokenizers merges, as we do, and llama.cpp does not.
    missing = missing_bytes(path)
    texts = ["".join(c for c in t if missing.isdisjoint(c.encode())) for t in texts]
    with tempfile.TemporaryDirectory() as folder:
        for pre in ("gpt-2", "llama-bpe", "qwen2", "default"):
            file = os.path.join(folder, pre + ".gguf")
            copy_with_pre(path, file, pre)
            failed += compare(f"GGUF with '{pre}' beside llama.cpp", texts, ours(program, file, texts)[0],
                              llama_ids(file, texts))
            os.remove(file)
    return failed


def main(program):
    path = smollm2.model_file()
    texts = tokenizer_texts.texts(LINES)
    failed = 0
    ids, _ = ours(program, path, texts)
    plain = smollm2.tokenizer(path)
    failed += compare("GGUF beside tokenizers", texts, ids, [e.ids for e in plain.encode_batch(texts)])
    failed += compare("GGUF beside llama.cpp", texts[:LLAMA_LINES], ids[:LLAMA_LINES],
                      llama_ids(path, texts[:LLAMA_LINES]))
    failed += compare_pre(program, path, texts[:LLAMA_LINES // 2])
    failed += compare_chats(program, path, plain, texts)
    marked = with_marks(texts)
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "tokenizer.json")
        for name, made in variants(path):
            made.save(file)
            want = [e.ids for e in made.encode_batch(marked, add_special_tokens=False)]
            failed += compare(f"tokenizer.json, {name}", marked, ours(program, file, marked, "special")[0], want)
        # Punctuation since Unicode 14: the package's tables of punctuation are older.
        words = [t.replace("\u061d", "") for t in texts]
        for cased in (False, True):
            made = bert(cased)
            made.save(file)
            failed += compare(f"WordPiece, {'cased' if cased else 'uncased'}", words,
                              ours(program, file, words)[0], [e.ids for e in made.encode_batch(words)])
    odd = tokenizer_texts.odd_bytes(LINES)
    _, back = ours(program, path, odd)
    missing = missing_bytes(path)
    failed += compare("odd bytes come back", odd, back,
                      [bytes(b for b in text if b not in missing) for text in odd])
    return 1 if failed else 0


def missing_bytes(path):
    """The bytes for which the vocabulary has no token; byte-level BPE writes each as a character."""
    prints = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in prints]
    byte_of = {chr(b): b for b in prints} | {chr(256 + i): b for i, b in enumerate(others)}
    return set(range(256)) - {byte_of.get(t) for t in gguf.GGUFReader(path).fields["tokenizer.ggml.tokens"].contents()}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
