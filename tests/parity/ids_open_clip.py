"""Ids of open_clip's mode against open_clip's own tokenizer, string by string.

Owns the comparison and what is counted beside it; the strings and the reference are tests/tokenizer's. Each check yields
(name, passed, detail).
"""
import open_clip_reference

import ids
from plugin import penult

FRAMED = 20  # every so many strings as a whole row too


def texts(corpus, count):
    """Half of what the other comparison takes, half of references and of what ftfy changes."""
    source = corpus.Source(2)
    return list(corpus.texts(count - count // 2)) + [corpus.entities(source) for _ in range(count // 2)]


def checks(model, strings):
    """All ids, every FRAMED-th row, spans in order, and how many strings fix_encoding would have changed."""
    if open_clip_reference.found() != open_clip_reference.VERSIONS:
        found = open_clip_reference.found()
        yield (f"open_clip's tokenizer: not compared, found {found}, expected {open_clip_reference.VERSIONS}: another Unicode "
               "has other characters", found["Unicode"] != open_clip_reference.VERSIONS["Unicode"], "")
        return
    tokenizer, repairing = open_clip_reference.tokenizer(), open_clip_reference.tokenizer(mojibake=True)
    wrong, rows, bad_spans, repaired = [], [], [], 0
    for index, text in enumerate(strings):
        expected = tokenizer.encode(text)
        repaired += repairing.encode(text) != expected
        try:
            tokens = model.tokenize(text, body=True)
        except penult.PenultError as error:
            wrong.append(f"{ascii(text[:60])}: {error}")
            continue
        if tokens.ids.tolist() != expected:
            wrong.append(f"{ascii(text[:60])}: {tokens.ids.tolist()[:20]}, open_clip {expected[:20]}")
        spans = tokens.spans
        if len(spans) and ((spans[:, 0] >= spans[:, 1]).any() or (spans[1:, 0] < spans[:-1, 0]).any() or
                           spans[-1, 1] > len(tokens.text)):
            bad_spans.append(ascii(text[:60]))
        if index % FRAMED == 0 and model.tokenize(text).ids.tolist() != tokenizer(text, model.info.context)[0].tolist():
            rows.append(ascii(text[:60]))
        if index % 4096 == 0:  # it would keep every piece that it ever met
            tokenizer.cache, repairing.cache = ({t: t for t in open_clip_reference.SPECIAL} for _ in range(2))
    yield (f"open_clip: ids of {len(strings)} strings (with ftfy's repair of mojibake {repaired} would be others)", not wrong,
           f"{len(wrong)} differ, first {wrong[:3]}" if wrong else "")
    yield f"open_clip: spans of {len(strings)} strings", not bad_spans, f"{len(bad_spans)}, first {bad_spans[:3]}" if bad_spans else ""
    yield f"open_clip: {len(strings[::FRAMED])} framed rows", not rows, f"{len(rows)} differ, first {rows[:3]}" if rows else ""


def vectors(path, model):
    """The recorded vectors but those that are mojibake, which is not repaired."""
    yield from ids.vectors(path, "oc", model, leave_out=("mojibake", "mojibake2"))
