"""Digests of encoded payloads and new residuals: python3 golden.py > golden.txt

An independent implementation (NumPy) of every codec's format, on inputs that golden_test.cpp builds
from the same integer formulas. One line per case: codec, elements, FNV-1a digests of the payload
of x, of payload and new residual of x + residual, and of those with momentum folded in.
"""
import numpy as np

F, U = np.float32, np.uint64
SIZES = [1, 7, 64, 511, 4095, 4096, 4097, 70001]
SEED, STEP, TENSOR = 11, 3, 5


def mix(x):
    x = (x + 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def derive(seed, salt):
    return mix(mix(seed) ^ mix(2**64 - 1 - salt))


STREAM = derive(derive(SEED, STEP), TENSOR)


def values(n, salt):
    """Floats of every sign and of exponents from 2^-9 to 2^2, with zeros and subnormal numbers."""
    out = np.empty(n, np.uint32)
    for i in range(n):
        z = mix(i * 64 + salt)
        bits = (z >> 63) << 31 | (118 + (z >> 32) % 12) << 23 | z % 2**23
        if i % 17 == 3:
            bits &= 0x80000000
        if i % 23 == 5:
            bits &= 0x807FFFFF
        out[i] = bits
    return out.view(F)


def digest(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = (h ^ b) * 0x100000001B3 % 2**64
    return h


def philox(seed, counter):
    c = [counter & U(0xFFFFFFFF), counter >> U(32), counter * U(0), counter * U(0)]
    k0, k1 = seed % 2**32, seed >> 32
    for _ in range(10):
        p0, p1 = c[0] * U(0xD2511F53), c[2] * U(0xCD9E8D57)
        c = [(p1 >> U(32)) ^ c[1] ^ U(k0), p1 & U(0xFFFFFFFF), (p0 >> U(32)) ^ c[3] ^ U(k1),
             p0 & U(0xFFFFFFFF)]
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return np.stack(c)


def words(n):
    i = np.arange(n, dtype=U)
    block = i // U(64) * U(16) + i % U(16)
    return philox(STREAM, block)[(i // U(16) % U(4)).astype(int), i.astype(int)]


def lane_sum(x):
    """32 lanes in double, joined in halves."""
    lanes = np.zeros(32)
    for row in np.pad(x.astype(np.float64), (0, -len(x) % 32)).reshape(-1, 32):
        lanes = lanes + row
    while len(lanes) > 1:
        lanes = lanes[:len(lanes) // 2] + lanes[len(lanes) // 2:]
    return lanes[0]


def pack(codes, bits):
    per = 8 // bits
    codes = np.pad(codes.astype(np.uint8), (0, -len(codes) % per)).reshape(-1, per)
    return sum(codes[:, j].astype(np.uint16) << (j * bits) for j in range(per)).astype(np.uint8)


def blocks(c, size):
    return [c[i:i + size] for i in range(0, len(c), size)]


def sign(c):
    scales = [F(lane_sum(np.abs(b)) / len(b)) for b in blocks(c, 4096)]
    s = np.repeat(np.array(scales, F), 4096)[:len(c)]
    payload = np.array(scales, F).tobytes() + pack(c >= 0, 1).tobytes()
    return payload, np.where(c >= 0, s, -s)


def integer(c, size, levels, bits):
    scales, codes, q = [], [], []
    for b in blocks(c, size):
        top = np.abs(b).max()
        tiny = top < F(2.0**-100)
        scales.append(F(0) if tiny else top / F(levels))
        level = np.rint(b * (F(0) if tiny else F(levels) / top)) + F(0)  # codes know no -0
        codes.append(level.astype(np.int64) & (2**bits - 1))
        q.append(level * scales[-1])
    return np.array(scales, F).tobytes() + pack(np.concatenate(codes), bits).tobytes(), \
        np.concatenate(q)


def qsgd(c, levels=7, bits=4):
    random = words(len(c))
    uniform = (random >> U(8)).astype(F) * F(2.0**-24)
    scales, codes, q = [], [], []
    for i in range(0, len(c), 512):
        b, u = c[i:i + 512], uniform[i:i + 512]
        norm = F(np.sqrt(lane_sum(b.astype(np.float64)**2)))
        tiny = norm < F(2.0**-100)
        scales.append(F(0) if tiny else norm)
        exact = np.abs(b) * (F(0) if tiny else F(levels) / norm)
        below = np.floor(exact)
        level = np.minimum(below + (u < exact - below), F(levels)).astype(F)
        codes.append(level.astype(np.int64) | np.signbit(b).astype(np.int64) << (bits - 1))
        q.append(np.copysign(level * (scales[-1] / F(levels)), b))
    return np.array(scales, F).tobytes() + pack(np.concatenate(codes), bits).tobytes(), \
        np.concatenate(q)


def natural(c):
    magnitude = c.view(np.uint32).astype(U) & U(0x7FFFFFFF)
    exponent = (magnitude + (words(len(c)) >> U(9))) >> U(23)
    power = (exponent << U(23)).astype(np.uint32).view(F)
    return exponent.astype(np.uint8).tobytes() + pack(c >= 0, 1).tobytes(), \
        np.where(c < 0, -power, power)


def bf16(c):
    bits = c.view(np.uint32).astype(U)
    half = (bits + U(0x7FFF) + (bits >> U(16) & U(1))) >> U(16)
    return half.astype("<u2").tobytes(), (half << U(16)).astype(np.uint32).view(F)


def identity(c):
    return c.tobytes(), c


def count_of(n, ratio=0.01):
    return min(max(int(np.floor(ratio * n + 0.5)), 1), n)


def top_k(c, ratio):
    n = len(c)
    order = np.argsort(-np.abs(c), kind="stable")[:count_of(n, ratio)]
    kept = np.sort(order[c[order] != 0])
    bitmap = 2 * len(kept) > (n + 7) // 8
    ends = [np.searchsorted(kept, i + 65536) for i in range(0, n, 65536)]
    places = (kept % 65536).astype("<u2")
    if bitmap:
        places = pack(np.isin(np.arange(n), kept), 1)
    q = np.zeros(n, F)
    q[kept] = c[kept]
    payload = np.array([len(kept), bitmap] + ends, "<u4").tobytes() + c[kept].tobytes() + \
        places.tobytes()
    return payload, q


def word(i):
    return int(philox(STREAM, np.array([i // 4], U))[i % 4, 0])


def random_k(c):
    n = len(c)
    k = count_of(n)
    shift = word(0) * n >> 32
    at = []
    for j in range(k):
        low, high = j * n // k, (j + 1) * n // k
        at.append((low + (word(j + 1) * (high - low) >> 32) + shift) % n)
    q = np.zeros(n, F)
    q[at] = c[at]
    return np.array([STREAM], "<u8").tobytes() + c[at].tobytes(), q


CODECS = {
    "sign": sign,
    "int8": lambda c: integer(c, 1024, 127, 8),
    "int4": lambda c: integer(c, 256, 7, 4),
    "qsgd": qsgd,
    "natural": natural,
    "bf16": bf16,
    "identity": identity,
    "topk": lambda c: top_k(c, 0.01),
    "topk_dense": lambda c: top_k(c, 0.3),
    "randk": random_k,
}

for name, codec in CODECS.items():
    for n in SIZES:
        x, residual, momentum = values(n, 1), values(n, 2), values(n, 3)
        plain, _ = codec(x)
        payload, q = codec(x + residual)
        lost = (x + residual) - q
        beta = F(0.9)
        c = beta * momentum + (F(1) - beta) * x + residual
        heavy, heavy_q = codec(c)
        heavy_lost = c - heavy_q
        print(name, n, *(f"{digest(d):016x}" for d in (
            plain, payload, lost.tobytes(), heavy, heavy_lost.tobytes())))
