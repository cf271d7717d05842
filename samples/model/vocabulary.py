"""The shipped model's vocabulary: 1,000 byte-level BPE tokens laid out as CLIP's 49,408 are.

Owns the training text (made from the word lists below by seeded templates), the merges, and the order of the ids.
Knows nothing of files or weights.

    0..255    the 256 byte symbols in CLIP's order      256..511  the same, ending a word ("</w>")
    512..997  486 merges, in rank order                 998, 999  start and end of text

The merges are counted here and not by tokenizers' BpeTrainer: among pairs of equal count that one follows the
iteration order of a hash map, and the same script must give the same bytes.
"""
import collections
import random

START, END, PAD = "<|startoftext|>", "<|endoftext|>", "!"
SUFFIX = "</w>"
SIZE = 1000

# The first words of each list are drawn most often. Together they need a few more merges than there are, so the last
# words stay in two or three pieces, as rare words do in CLIP.
KIND = "photo painting portrait drawing picture sketch render illustration photograph watercolor poster".split()
COLOUR = "red blue green black white golden dark bright yellow purple silver orange pink brown colorful pale".split()
SUBJECT = """cat dog woman man girl house horse bird robot castle dragon city car boat tree astronaut flower knight
             fox wolf king queen wizard ship child train bridge lion owl mountain soldier village temple spaceship
             butterfly""".split()
PLACE = """forest table street beach moon water night sky mountains field sea snow garden river desert rain mars
           room space window sunset winter kitchen ocean meadow library""".split()
DOING = "sitting standing running flying riding looking walking sleeping holding reading wearing dancing".split()
QUALITY = """detailed realistic beautiful cinematic sharp soft dramatic epic highly elegant ancient masterpiece
             professional intricate mysterious futuristic""".split()
LIGHT = "light lighting sunlight shadow fog smoke fire clouds glow".split()
STYLE = "oil digital concept fantasy anime vintage modern abstract landscape surreal baroque minimalist".split()
TERM = "style quality focus background resolution face hair eyes texture composition".split()

SIZE_WORD = "small young large tiny giant little tall".split()
WHERE = "by under over near above behind between inside".split()

TEMPLATES = (
    "a {kind} of a {subject}",
    "a {kind} of a {colour} {subject} in the {place}",
    "a {colour} {subject} {doing} on a {place}",
    "an {style} {kind} of the {subject} and a {subject2}",
    "{subject} in {colour} {light} , {quality} , {style} art",
    "the {subject} {doing} at the {place} with {colour} {light}",
    "{style} {kind} , {quality} {term} , {quality} {light} , best quality , 8 k",
    "close up {kind} of an old {subject} , {quality} , {term}",
    "one {size} {subject} {where} the {place} , {colour} {term} , {style} style",
    "some {size} {subject} and her {colour} {subject2} {where} two trees , by an artist",
    "this is not a {subject} , it 's a {colour} {subject2} from {place}",
)


def byte_symbols():
    """CLIP's 256 byte symbols in the order of their ids, as single characters."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + rank) for rank in range(len(others))]


def training_words(sentences=20000, seed=1):
    """Counts of the words in the generated text."""
    draw = random.Random(seed)

    def pick(words):
        return draw.choices(words, weights=[1 / (rank + 2) for rank in range(len(words))])[0]

    counts = collections.Counter()
    for _ in range(sentences):
        text = draw.choice(TEMPLATES).format(
            kind=pick(KIND), colour=pick(COLOUR), subject=pick(SUBJECT), subject2=pick(SUBJECT), place=pick(PLACE),
            doing=pick(DOING), quality=pick(QUALITY), light=pick(LIGHT), style=pick(STYLE), term=pick(TERM),
            size=pick(SIZE_WORD), where=pick(WHERE))
        counts.update(text.split())
    return counts


def train_merges(counts, wanted):
    """The `wanted` most frequent merges, one after the other; the alphabetically first among equals."""
    words = [[[*word[:-1], word[-1] + SUFFIX], count] for word, count in sorted(counts.items())]
    merges = []
    while len(merges) < wanted:
        pairs = collections.Counter()
        for symbols, count in words:
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += count
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for entry in words:
            symbols, merged, at = entry[0], [], 0
            while at < len(symbols):
                take = 2 if tuple(symbols[at:at + 2]) == best else 1
                merged.append("".join(symbols[at:at + take]))
                at += take
            entry[0] = merged
    return merges


def build():
    """({token: id}, [(left, right), ...])"""
    symbols = byte_symbols()
    tokens = symbols + [symbol + SUFFIX for symbol in symbols]
    merges = train_merges(training_words(), SIZE - len(tokens) - 2)
    tokens += [left + right for left, right in merges] + [START, END]
    if len(set(tokens)) != SIZE:
        raise SystemExit(f"the vocabulary has {len(set(tokens))} distinct tokens, expected {SIZE}")
    return {token: index for index, token in enumerate(tokens)}, merges
