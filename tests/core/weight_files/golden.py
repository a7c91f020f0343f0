"""Golden values of the readers of weight files: python3 golden.py, in this folder.

Writes golden.txt, blocks.gguf and three.safetensors with the packages gguf and safetensors (those of
tests/engines/requirements.txt). A line of golden.txt is "decode TYPE BLOCKS FLOATS" or "encode TYPE
FLOATS BLOCKS", bytes in hexadecimal.
"""
import gguf
import numpy
from gguf import GGMLQuantizationType as Type
from safetensors.numpy import save_file

DECODED = [Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q6_K,
           Type.Q4_K]
ENCODED = [Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0]
# Where a block has scales in half precision: random bits there would be infinite or no number.
SCALES = {Type.Q8_0: [0], Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2],
          Type.Q6_K: [208], Type.Q4_K: [0, 2]}

random = numpy.random.default_rng(1)


def random_blocks(kind, blocks):
    _, size = gguf.GGML_QUANT_SIZES[kind]
    data = random.integers(0, 256, (blocks, size), dtype=numpy.uint8)
    for at in SCALES.get(kind, []):
        scale = random.normal(0, 0.1, blocks).astype(numpy.float16)
        data[:, at:at + 2] = scale.view(numpy.uint8).reshape(blocks, 2)
    return data


def all_finite_halves():
    bits = numpy.concatenate([numpy.arange(0, 0x7C00, 31), numpy.arange(0, 64)])
    return numpy.concatenate([bits, bits | 0x8000]).astype(numpy.uint16)


def decode_case(kind):
    if kind == Type.F16:
        data = all_finite_halves().view(numpy.uint8).reshape(1, -1)
    else:
        elements, _ = gguf.GGML_QUANT_SIZES[kind]
        data = random_blocks(kind, 64 if elements == 1 else 512 // elements).reshape(1, -1)
        if kind == Type.BF16:
            data[0, 1::2] &= 0xBF  # finite
    values = gguf.dequantize(data, kind)
    return ["decode", kind.name, data.tobytes().hex(), values.tobytes().hex()]


def encode_case(kind):
    values = random.normal(0, 0.05, (1, 128)).astype(numpy.float32)
    values[0, 32:64] = 0.0
    values[0, 70] = -2.5
    values[0, 96:100] = [6e-8, 3e-8, -1.2e-7, 2.98e-8]  # below the normal halves
    data = gguf.quantize(values, kind)
    return ["encode", kind.name, values.tobytes().hex(), data.tobytes().hex()]


with open("golden.txt", "w") as out:
    for case in [decode_case(k) for k in DECODED] + [encode_case(k) for k in ENCODED]:
        print(*case, file=out)

writer = gguf.GGUFWriter("blocks.gguf", "llama")
writer.add_uint32("llama.block_count", 3)
writer.add_float32("llama.attention.layer_norm_rms_epsilon", 0.5)
writer.add_bool("tokenizer.ggml.add_bos_token", True)
writer.add_array("tokenizer.ggml.tokens", ["a", "", "\u00e9"])
writer.add_array("tokenizer.ggml.token_type", [1, -2, 3])
writer.add_array("tokenizer.ggml.scores", [0.5, -1.0])
writer.add_tensor("plain", numpy.arange(6, dtype=numpy.float32).reshape(2, 3))
writer.add_tensor("blocks", gguf.quantize(
    numpy.linspace(-1, 1, 192, dtype=numpy.float32).reshape(3, 64), Type.Q4_1), raw_dtype=Type.Q4_1)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

save_file({"w": numpy.arange(6, dtype=numpy.float32).reshape(2, 3),
           "half": numpy.array([1.0, -0.5], dtype=numpy.float16),
           "ids": numpy.array(7, dtype=numpy.int64)},
          "three.safetensors", metadata={"format": "pt"})
