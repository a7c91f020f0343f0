#!/usr/bin/env python3
"""Writes what libFuzzer starts from: small files that the readers accept.

Usage: seeds.py FOLDER      one folder per target below it
"""
import json
import pathlib
import struct
import sys


def safetensors(types):
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, size) in types.items():
        header[name] = {"dtype": dtype, "shape": [2, 1], "data_offsets": [end, end + 2 * size]}
        end += 2 * size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def gguf_text(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf(values, tensors):
    """values: (key, type, packed value); tensors: (name, dims, type, bytes), bytes below 32."""
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values))
    for key, kind, packed in values:
        out += gguf_text(key) + struct.pack("<I", kind) + packed
    for i, (name, dims, kind, _) in enumerate(tensors):
        out += gguf_text(name) + struct.pack("<I", len(dims))
        out += b"".join(struct.pack("<Q", d) for d in dims) + struct.pack("<IQ", kind, 32 * i)
    out += bytes(-len(out) % 32)
    return out + b"".join(data + bytes(-len(data) % 32) for *_, data in tensors)


def gguf_array(kind, elements):
    return struct.pack("<IQ", kind, len(elements)) + b"".join(elements)


def proto(field, value):
    """A field of a protocol buffer: a number, a float, or bytes; shorter than 128 bytes."""
    if isinstance(value, int):
        return bytes([field << 3, value])
    if isinstance(value, float):
        return bytes([field << 3 | 5]) + struct.pack("<f", value)
    return bytes([field << 3 | 2, len(value)]) + value


def sentence_piece_file():
    pieces = [("<unk>", 2), ("<s>", 3), ("</s>", 3), ("<0x0A>", 6), ("\u2581a", 1)]
    out = b"".join(proto(1, proto(1, t.encode()) + proto(2, -float(i)) + proto(3, kind))
                   for i, (t, kind) in enumerate(pieces))
    return out + proto(2, proto(3, 2)) + proto(3, proto(1, b"identity") + proto(3, 1) + proto(4, 0))


def config(**changes):
    base = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 2, "hidden_size": 2,
            "intermediate_size": 2, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1,
            "head_dim": 2, "hidden_act": "silu", "max_position_embeddings": 16, "rms_norm_eps": 1e-5,
            "tie_word_embeddings": True, "rope_theta": 10000.0}
    return json.dumps(base | changes).encode()


def byte_bpe_json():
    vocab = {"<s>": 0, "a": 1, "b": 2, "ab": 3, "\u0120": 4, "1": 5}
    return json.dumps({
        "version": "1.0", "normalizer": {"type": "NFC"},
        "added_tokens": [{"id": 0, "content": "<s>", "special": True, "lstrip": True, "rstrip": True}],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True}, {"type": "ByteLevel", "add_prefix_space": False}]},
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}]},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocab, "merges": [["a", "b"]], "ignore_merges": True}}).encode()


def word_piece_json():
    return json.dumps({
        "normalizer": {"type": "BertNormalizer", "lowercase": True},
        "added_tokens": [{"id": 0, "content": "<s>", "special": True}],
        "pre_tokenizer": {"type": "BertPreTokenizer"}, "decoder": {"type": "WordPiece"},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "max_input_chars_per_word": 9,
                  "vocab": {"<s>": 0, "[UNK]": 1, "it": 2, "##1": 3, "'": 4, "e": 5}}}).encode()


def vocabulary_gguf(model, tokens, *more):
    chat = ("{% for message in messages %}{{ '<|im_start|>' + message.role + \"\\n\" + message['content'] "
            "+ '<|im_end|>\\n' -}} {% endfor %}")
    types = [struct.pack("<i", kind) for _, kind in tokens]
    return gguf([("tokenizer.ggml.model", 8, gguf_text(model)), ("tokenizer.chat_template", 8, gguf_text(chat)),
                 ("tokenizer.ggml.tokens", 9, gguf_array(8, [gguf_text(text) for text, _ in tokens])),
                 ("tokenizer.ggml.token_type", 9, gguf_array(5, types)),
                 ("tokenizer.ggml.bos_token_id", 4, struct.pack("<I", 0)),
                 ("tokenizer.ggml.unknown_token_id", 4, struct.pack("<I", 1)), *more], [])


MARKS = [("<|im_start|>", 3), ("<|im_end|>", 3), ("<s>", 4)]

SEEDS = {
    "safetensors": [
        safetensors({"a": ("F32", 4), "b": ("BF16", 2)}),
        safetensors({"c": ("F16", 2), "d": ("F64", 8), "e": ("I8", 1), "f": ("BOOL", 1)}),
    ],
    "safetensors_index": [
        json.dumps({"metadata": {"total_size": 8},
                    "weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}).encode(),
    ],
    "gguf": [
        gguf([("general.architecture", 8, gguf_text("llama")), ("general.alignment", 4, struct.pack("<I", 32)),
              ("llama.block_count", 4, struct.pack("<I", 1)), ("eps", 6, struct.pack("<f", 1e-5)),
              ("flag", 7, b"\1"), ("wide", 12, struct.pack("<d", 0.5)),
              ("tokens", 9, gguf_array(8, [gguf_text("a"), gguf_text("b")])),
              ("types", 9, gguf_array(5, [struct.pack("<i", 1)]))],
             [("token_embd.weight", [4, 1], 0, bytes(16)), ("blk.0.attn_q.weight", [32], 2, bytes(18))]),
        gguf([], [("h", [4], 1, bytes(8)), ("b", [4], 30, bytes(8))]),
    ],
    "tokenizer_json": [byte_bpe_json(), word_piece_json()],
    "tokenizer_gguf": [
        vocabulary_gguf("gpt2", MARKS + [("a", 1), ("b", 1), ("ab", 1)],
                        ("tokenizer.ggml.pre", 8, gguf_text("llama-bpe")),
                        ("tokenizer.ggml.merges", 9, gguf_array(8, [gguf_text("a b")]))),
        vocabulary_gguf("llama", MARKS + [("\u2581", 1), ("I", 1), ("\u2581I", 1), ("<0x0A>", 6)],
                        ("tokenizer.ggml.scores", 9, gguf_array(6, [struct.pack("<f", i) for i in range(7)]))),
    ],
    "sentence_piece_file": [sentence_piece_file()],
    "decoder_config": [
        config(),
        config(rope_scaling=None, rope_parameters={"rope_type": "default", "rope_theta": 1e6}),
        config(model_type="mistral", sliding_window=None, attention_bias=False, eos_token_id=[1, 0]),
    ],
}

for target, seeds in SEEDS.items():
    folder = pathlib.Path(sys.argv[1]) / target
    folder.mkdir(parents=True, exist_ok=True)
    for i, seed in enumerate(seeds):
        (folder / f"seed{i}").write_bytes(seed)
