"""Texts to compare tokenizers on: a seeded generator. No two runs differ, whatever Python's version.

    from corpus import texts
    for text in texts(200000): ...

All are valid Unicode without surrogates. The random numbers are our own (SplitMix64), because Python's `random`
promises only its core and not choice() or sample().
"""

import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent

WORDS = """
a an the of in on with and under photo picture painting portrait landscape astronaut riding horse mars cat dog bird
mountain river sunset city street night neon light shadow dramatic cinematic lighting highly detailed masterpiece best
quality trending artstation octane render unreal engine watercolor oil canvas sketch illustration anime style studio
soft focus bokeh golden hour wide angle macro close-up full-body looking viewer girl boy man woman child old young
beautiful dark fantasy cyberpunk steampunk forest castle dragon robot spaceship ocean beach snow winter spring autumn
summer red green blue yellow purple orange black white silver pneumonoultramicroscopicsilicovolcanoconiosis
antidisestablishmentarianism state-of-the-art supercalifragilistic internationalisation xylophone queue rhythm zzz hmm
4k 8k hdr""".split()

FOREIGN = """
caf\u00e9 na\u00efve \u00fcber stra\u00dfe \u00c5ngstr\u00f6m \u0130stanbul \u0131\u015f\u0131k \u0141\u00f3d\u017a
\u010cesk\u00fd \u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440 \u0421\u041e\u041b\u041d\u0426\u0415
\u0388\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac \u039f\u0394\u039f\u03a3 \u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd
\u0645\u064f\u0631\u064e\u062d\u0651\u064e\u0628\u064b\u0627 \u0641\u0627\u0631\u0633\u06cc
\u0928\u092e\u0938\u094d\u0924\u0947 \u0915\u094d\u0937\u093c \u09ac\u09be\u0982\u09b2\u09be
\u0ba4\u0bae\u0bbf\u0bb4\u0bcd \u0c24\u0c46\u0c32\u0c41\u0c17\u0c41 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35
\u0ea5\u0eb2\u0ea7 \u1019\u103c\u1014\u103a\u1019\u102c \u1797\u17b6\u179f\u17b6
\u0f56\u0f7c\u0f51\u0f0b\u0f66\u0f90\u0f51\u0f0b \u4f60\u597d\u4e16\u754c \u732b\u304c\u597d\u304d
\u30ab\u30bf\u30ab\u30ca \uff76\uff9e\uff77\uff9e \uc548\ub155\ud558\uc138\uc694 \u1112\u1161\u11ab\u1100\u1173\u11af
\u10e5\u10d0\u10e0\u10d7\u10e3\u10da\u10d8 \u1c90\u1c91 \u0540\u0561\u0575\u0565\u0580\u0565\u0576
\u12a0\u121b\u122d\u129b \u13a0\u13b9\u13cd \uab70 Ti\u1ebfng Vi\u1ec7t \u1e9e \ufb03 \u01c4 \u01c5 \u1f88 \u2126
\u212a \u212b \u1e69 \u0390 \u1fb7 \U00010400 \U0001d400 \U0001e900""".split()

CODE = """
def f(x): return x**2 ;for(int i=0;i<n;++i){a[i]+=b[i];} <div class="x">&amp;</div> SELECT * FROM t WHERE id='1';
$HOME/.bashrc https://example.com/a_b?c=1&d=2#e foo.bar@example.com (masterpiece:1.2) [low|high] {a,b} <lora:name:0.8>
--ar 16:9 --v 5.2 \\(b\\) #hashtag @user :-) ^_^ <3 100% 3.14159 1e-10 0xFF 2023-12-31 12:30 $5.99 C++ C# .NET x=y!=z
a&&b||c ??? !!! ... --- === ~~~""".split()

CONTRACTIONS = [
    "'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'LL", "'r", "'v", "'l", "'x", "''", "'", "'sam",
    "'tis", "'rea", "'\u017f", "\u2019s", "o'clock", "rock'n'roll", "'d''d", "y'all'd've",
]

SPECIALS = [
    "<|startoftext|>", "<|endoftext|>", "<|STARTOFTEXT|>", "<|EndOfText|>", "<|endoftext", "|>", "<|",
    "<|endoftext|>!!", "!<|startoftext|>", "<|startoftext|>'s", "<<|endoftext|>>", "<|endoftext|><|endoftext|>",
    "<|endo\u0307ftext|>", "!", "!!", "!!!", "<|foo|>", "<start_of_text>", "<pad>", "<unk>", "</w>", "a</w>",
]

SPACES = [
    " ", "  ", "\t", "\n", "\r", "\r\n", "\x0b", "\x0c", "\x85", "\xa0", "\u1680", "\u2000", "\u2001", "\u2003",
    "\u2009", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\x1c", "\x1d", "\x1e", "\x1f", "\u200b", "\u200c",
    "\u200d", "\u2060", "\ufeff", "\u180e", "\x00", "\x7f", "\xad",
]

EMOJI = [
    "\U0001f600", "\U0001f63a", "\u2764\ufe0f", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f44d\U0001f3fd",
    "\U0001f1eb\U0001f1f7", "1\ufe0f\u20e3", "\U0001f3f4\U000e0067\U000e0062\U000e007f",
    "\U0001f9d1\U0001f3ff\u200d\U0001f680", "\u263a", "\u2122", "\u00a9", "\U0001fae0", "\U0001f6dc",
]

MARKS = [
    *range(0x300, 0x370), *range(0x483, 0x488), *range(0x591, 0x5be), *range(0x64b, 0x660), 0x670,
    *range(0x6d6, 0x6dd), 0x711, *range(0x730, 0x74b), *range(0x7eb, 0x7f4), *range(0x816, 0x81a),
    *range(0x8d3, 0x900), 0x93c, 0x94d, 0x9bc, 0x9be, 0x9cd, 0x9d7, 0xa3c, 0xb3e, 0xb56, 0xb57, 0xbbe, 0xbd7, 0xc55,
    0xc56, 0xcc2, 0xcd5, 0xcd6, 0xd3e, 0xd57, 0xdca, 0xdcf, 0xddf, 0xe38, 0xe48, 0xeb8, 0xec8, 0xf18, 0xf35, 0xf71,
    0xf72, 0xf73, 0xf74, 0xf75, 0xf80, 0xf81, 0xf84, 0x102e, 0x1037, 0x135d, 0x1714, 0x17d2, 0x18a9, 0x1939, 0x1a17,
    0x1a60, *range(0x1ab0, 0x1ac1), *range(0x1ac1, 0x1ade), 0x1b34, 0x1b35, 0x1baa, 0x1be6, 0x1cd0,
    *range(0x1dc0, 0x1e00), *range(0x20d0, 0x20f1), 0x2cef, 0x302a, 0x302e, 0x3099, 0x309a, 0xa66f, 0xa806, 0xa8c4,
    0xa8e0, 0xa92b, 0xa953, 0xa9b3, 0xaab0, 0xabed, 0xfb1e, *range(0xfe20, 0xfe30), 0x101fd, 0x10a0d, 0x110ba,
    0x11127, 0x11131, 0x11347, 0x1133e, 0x11357, 0x114b0, 0x114ba, 0x114bd, 0x115af, 0x11930, 0x16af0, 0x1d165,
    0x1d16d, 0x1d17b, 0x1e000, 0x1e130, 0x1e8d0, 0x1e94a, 0x11a7, 0x1161, 0x11a8, 0xfe00, 0x10d69, 0x113b8, 0x113c9,
    0x1611e,
]
BASES = [
    *b"aeiouAEIOUnNsSkKzZqQ", 0xe4, 0xfc, 0x101, 0x1e0d, 0x1ea1, 0x3b1, 0x3b9, 0x391, 0x1f00, 0x1f80, 0x438, 0x418,
    0x5d0, 0x627, 0x648, 0x915, 0x928, 0x933, 0x9c7, 0xb47, 0xb92, 0xbc6, 0xcc6, 0xd46, 0xdd9, 0xf40, 0x1025, 0x1100,
    0x1112, 0xac00, 0xac01, 0xd7a3, 0x1b05, 0x304b, 0x30ab, 0x4e00, 0x11099, 0x11131, 0x11347, 0x114b9, 0x115b8,
    0x11935, 0x105d2, 0x16121, 0x11382, 0x16d67, 0x212b, 0x2126, 0x226e, 0x3d, 0x3c, 0x958, 0xfb1d, 0x1d157, 0x2adc,
    0xf900, 0x2f800,
]


# What open_clip's cleaning makes a difference for: pieces of HTML references, and characters that become pieces of them
REFERENCES = [
    "&", "&amp;", "&amp", "&#", "&#x", "#", "x", ";", "&;", "&AMP;", "&lt;", "<", ">", "&#38;", "&#x26;", "&#59;", "&semi;",
    "amp;", "\u037e", "\u212a", "\uff06", "\uff1b", "\uff03", "&#xFF06;", "&#65286;", "&#x37e;", "&nbsp;", "&NewLine;",
    "&Tab;", "&ffilig;", "&fjlig;", "&EACUTE;", "&SZLIG;", "&nGt;", "&notit;", "&notin;", "&not", "&FFILIG;", "&quot;",
    "&CounterClockwiseContourIntegral;", "&eacute;", "&rsquo;", "&hellip", "&#1;", "&#128;", "&#x80;", "&#xD800;",
    "&#1114112;", "&#xFFFE;", "&#xFDD0;", "&#13;", "&#10;", "&#160;", "&#x1F600;", "&#0;", "&#000000000000000000000000038;",
]
FIXES = [
    "\x1b[", "\x1b", "[", "31m", "3", "1;", "\u0663", "m", "\n", "\r", "\r\n", "\u2028", "\x85", "\x93", "\x91",
    "\x81", "\ufb01", "\ufb03", "\u0132", "\u0149", "\u01c4", "\ufb05", "\u3000", "\uff21", "\uff76", "\uff9e",
    "\uffe3", "\u2018", "\u201d", "\u02bc", "\u0301", "\u0338", "\u0345", "\u0308", "\u03a3", "\u03c3", "\u0391",
    "\u0130", "\u017f", "s", "t", "e", "a", "A", "I", "<start_of_text>", "<\u017ftart_of_text>", "<START_OF_TEXT>",
    "<end_of_text>", "<end_of_text", "'", "'\u017f", "'LL", "'re", "!", "<|endoftext|>", "\ufeff", "\u206a", "\ufffa",
    "\x00", "\x0b", "\x0c", " ", "  ", "\t", "\u200b", "\xad", "\u2126", "\u1f80", "\u0958", "\U0001d160",
]


class Source:
    def __init__(self, seed):
        self.state = seed

    def number(self, below):
        self.state = (self.state + 0x9E3779B97F4A7C15) % 2**64
        z = self.state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return (z ^ z >> 31) % below

    def among(self, items):
        return items[self.number(len(items))]

    def several(self, least, most, make):
        return [make() for _ in range(least + self.number(most - least + 1))]

    def point(self, first=0, end=0x110000):
        while True:
            point = first + self.number(end - first)
            if not 0xD800 <= point < 0xE000:
                return chr(point)


def cased(source, word):
    return source.among([word, word, word, word.upper(), word.capitalize(), word.swapcase()])


def prompt(source):
    glue = source.among([" ", " ", ", ", " ", " - ", "  "])
    return glue.join(source.several(0, 14, lambda: cased(source, source.among(WORDS))))


def code(source):
    return source.among([" ", "", "\n"]).join(source.several(1, 6, lambda: source.among(CODE + WORDS)))


def foreign(source):
    return source.among([" ", "", "-"]).join(source.several(1, 8, lambda: source.among(FOREIGN)))


def letters(source):
    """A word of one script: code points from a stretch of 256."""
    first = source.number(0x2400) * 256 if source.number(4) == 0 else source.number(0x32) * 256
    first = min(first, 0x10FF00)
    if 0xD700 < first < 0xE000:
        first = 0x4E00
    return "".join(source.several(1, 12, lambda: source.point(first, first + 256)))


def stack(source):
    """Bases with marks, in any order."""
    def one():
        base = chr(source.among(BASES)) if source.number(3) else source.point(0, 0x2000)
        marks = source.several(0, source.among([1, 2, 4, 9]), lambda: chr(source.among(MARKS)))
        return base + "".join(marks) if source.number(8) else "".join(marks) + base
    return "".join(source.several(1, 6, one))


def jamo(source):
    ranges = [(0x1100, 0x1113), (0x1161, 0x1176), (0x11A7, 0x11C3), (0xAC00, 0xD7A4), (0x1100, 0x1200),
              (0xA960, 0xA97D), (0xD7B0, 0xD7FC)]
    return "".join(source.several(1, 10, lambda: source.point(*source.among(ranges))))


def emoji(source):
    return "".join(source.several(1, 6, lambda: source.among(EMOJI + ["\u200d", "\ufe0f", " ", "cat"])))


def contractions(source):
    def one():
        return source.among(WORDS + CONTRACTIONS + CONTRACTIONS) + source.among(["", "", " "])
    return "".join(source.several(1, 6, one))


def specials(source):
    return "".join(source.several(1, 6, lambda: source.among(SPECIALS + SPECIALS + WORDS + CONTRACTIONS + SPACES)))


def spaces(source):
    return "".join(source.several(1, 8, lambda: source.among(SPACES) + source.among(["", "", "a", "B", "1", "!"])))


def digits(source):
    pool = "0123456789.,:/-% \u00bd\u00b2\u2167\u2460\u0661\u0967\uff11\U0001d7d8\u3007\u4e09"
    return "".join(source.several(1, 14, lambda: source.among(pool)))


def symbols(source):
    pool = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\u00a1\u00bf\u2026\u201c\u201d\u2018\u2019\u2013\u2014\u20ac"
    return "".join(source.several(1, 12, lambda: source.among(pool)))


def anything(source):
    return "".join(source.several(0, 12, source.point))


def low_points(source):
    return "".join(source.several(0, 14, lambda: source.point(0, 0x3000)))


def repeated(source):
    unit = source.among(["a", "ha", "ab", "!", "the", "x\u0301", "\U0001f600", "1", " ", "\u4e00", "aaa ", "."])
    return unit * source.number(source.among([4, 20, 120]))


def mixture(source):
    makers = (prompt, code, foreign, letters, stack, emoji, contractions, specials, spaces, digits, symbols, anything)
    return source.among(["", " "]).join(source.several(2, 5, lambda: source.among(makers)(source)))


MAKERS = (prompt, prompt, code, foreign, letters, letters, stack, stack, jamo, emoji, contractions, specials, spaces,
          digits, symbols, anything, low_points, repeated, mixture, mixture)


def vectors():
    """The test vectors of the literature, with the ids of CLIP's own vocabulary; see tokenizer_vectors.json."""
    return json.loads((HERE / "tokenizer_vectors.json").read_text(encoding="utf-8"))


def entities(source):
    """For open_clip alone: not among MAKERS, so that the texts that are recorded stay as they are."""
    def one():
        kind = source.number(10)
        if kind < 5:
            return source.among(REFERENCES)
        if kind < 8:
            return source.among(FIXES)
        number = source.number(0x180) if kind == 8 else source.number(0x112000)
        return f"&#{source.among([str(number), f'x{number:x}', f'X{number:X}'])}{source.among([';', ';', ''])}"
    return "".join(source.several(1, 12, one))


def texts(count, seed=20):
    """`count` texts: the vectors, each Unicode block in order, then random ones of every kind."""
    out = [vector["text"] for vector in vectors()]
    out += WORDS + FOREIGN + CODE + CONTRACTIONS + SPECIALS + SPACES + EMOJI
    for first in range(0, 0x110000, 64):
        if not 0xD800 <= first < 0xE000 and len(out) * 4 < count:
            out.append("".join(chr(c) for c in range(first, first + 64)))
    source = Source(seed)
    while len(out) < count:
        out.append(source.among(MAKERS)(source))
    return out[:count]
