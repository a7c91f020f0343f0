"""Texts for comparing tokenizers: many languages, program text, space of all kinds, and odd bytes."""
import random
import unicodedata

# Firsts and lasts of stretches of Unicode in which most code points are characters.
STRETCHES = [
    (0x20, 0x7E), (0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F),
    (0x531, 0x58A), (0x591, 0x5F4), (0x600, 0x6FF), (0x900, 0x97F), (0xE01, 0xE5B), (0x10A0, 0x10FF),
    (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x2070, 0x218B), (0x2190, 0x23FF), (0x3000, 0x30FF), (0x4E00, 0x9FA5),
    (0xAC00, 0xD7A3), (0xFF01, 0xFF9E), (0x1D400, 0x1D7CB), (0x1F300, 0x1F64F),
]
WORDS = """the The of and don't DON'T I'll we've she'd it's they're I'm O'Brien 'tis rock'n'roll
der die das Straße grüße über déjà été garçon señor mañana ação coração že příliš zażółć gęślą Ünal İstanbul
Привет мир товарищ ειρήνη שלום مرحبا नमस्ते สวัสดี 你好 世界 東京都 こんにちは カタカナ 안녕하세요 Việt
def return self.x += 1; if(x!=0){ printf("%d\\n",x); } </div> http://example.org/a?b=c&d=%20e C:\\temp\\x
3.14159 1234567890 1,000,000 ½ ² Ⅻ ٣٤ 2026-01-31T12:00:00Z +1-555-0100 #tag @user a_b_c CamelCase snake_case
😀 👩‍👩‍👧‍👦 🇫🇷 ✓ — “quoted” ‘single’ … €5 £6 ¥7 naïve cafe\u0301 \ufeff \u00ad \u200b 'ſ 'S 'LL K Å""".split()
SPACES = [" ", " ", " ", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n", "\n ", "\u00a0", "\u3000", "\u2028",
          "\x0b", "\x0c", "\x85", ""]


def odd_piece(draw):
    kind = draw.randrange(4)
    if kind == 0:
        first, last = draw.choice(STRETCHES)
        text = "".join(chr(draw.randint(first, last)) for _ in range(draw.randint(1, 9)))
    elif kind == 1:
        text = "".join(chr(draw.randrange(0x20)) for _ in range(draw.randint(1, 3)))
    elif kind == 2:
        text = draw.choice("'.-=_!?*#/ \n0a") * draw.randint(1, 40)
    else:
        text = "".join(draw.choice("'stremvld SLT0123456789\u017f") for _ in range(draw.randint(1, 12)))
    return text


def line(draw):
    out = []
    for _ in range(draw.randint(1, 14)):
        out.append(draw.choice(WORDS) if draw.random() < 0.7 else odd_piece(draw))
        out.append(draw.choice(SPACES))
    text = "".join(out)
    # Code points without a character in one version of Unicode have one in another.
    return "".join(c for c in text if unicodedata.category(c) not in ("Cn", "Cs"))


def texts(count, seed=1):
    """Text, valid UTF-8, without NUL."""
    draw = random.Random(seed)
    return [line(draw).replace("\0", "") for _ in range(count)]


def odd_bytes(count, seed=2):
    """Bytes that are no UTF-8, for the most part."""
    draw = random.Random(seed)
    out = []
    for _ in range(count):
        data = bytearray(line(draw).encode())
        for _ in range(draw.randint(1, 5)):
            data.insert(draw.randint(0, len(data)), draw.randint(0x80, 0xFF))
        out.append(bytes(data))
    return out
