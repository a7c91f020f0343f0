#!/usr/bin/env python3
"""Writes tiny random decoders of several families, and what transformers computes with them.

Usage: make_decoders.py, with torch, transformers 5.24.0 and safetensors. Writes into its own folder, for each family, a folder
with config.json and model.safetensors in bf16, and logits.json: {family: {"ids": [...], "logits": [[...] of each position]}}.
"""
import copy
import json
import pathlib
import shutil

import torch
from transformers import (LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen2Config,
                          Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

HERE = pathlib.Path(__file__).resolve().parent
SIZES = {"vocab_size": 23, "hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32,
         "rms_norm_eps": 1e-3, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None}
FAMILIES = {
    "llama": (LlamaConfig, LlamaForCausalLM, {"tie_word_embeddings": True, "rope_theta": 100.0}),
    "mistral": (MistralConfig, MistralForCausalLM, {"tie_word_embeddings": False, "head_dim": 6, "sliding_window": 32}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {"tie_word_embeddings": False, "rope_theta": 1000.0}),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"tie_word_embeddings": True, "head_dim": 8}),
}
IDS = [3, 14, 15, 9, 2, 6, 5, 3, 5, 22, 0, 7]


def main():
    found = {}
    for name, (config_class, model_class, more) in FAMILIES.items():
        torch.manual_seed(len(found))
        model = model_class(config_class(**SIZES, **more)).eval()
        with torch.no_grad():
            for parameter in model.parameters():  # norms and biases too, which begin at 1 and 0
                parameter.add_(0.3 * torch.randn_like(parameter))
                parameter.copy_(parameter.bfloat16())
            folder = HERE / name
            shutil.rmtree(folder, ignore_errors=True)
            # A copy: this rounds the rotary frequencies too.
            copy.deepcopy(model).to(torch.bfloat16).save_pretrained(folder)
            (folder / "generation_config.json").unlink()
            logits = model(torch.tensor([IDS])).logits[0]
        found[name] = {"ids": IDS, "logits": [[round(v, 7) for v in row] for row in logits.tolist()]}
    (HERE / "logits.json").write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
