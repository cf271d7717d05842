"""Ids of the plugin's tokenizer against those of transformers, string by string.

Owns the comparison; the strings are tests/tokenizer's. Each check yields (name, passed, detail).
"""
import json

import numpy as np

from plugin import penult

BATCH = 4000


def _show(text):
    return ascii(text[:60]) + ("..." if len(text) > 60 else "")


def _reference(tokenizer, texts):
    """Body ids and, per id, the bytes of the characters that it comes from."""
    for text, encoding in zip(texts, tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False)):
        yield text, encoding.ids, encoding.offsets


def compare(name, model, tokenizer, texts):
    """Ids of all texts, and whether the spans make sense."""
    count, wrong, bad_spans = 0, [], []
    for at in range(0, len(texts), BATCH):
        for text, ids, offsets in _reference(tokenizer, texts[at:at + BATCH]):
            count += 1
            try:
                tokens = model.tokenize(text, body=True)
            except penult.PenultError as error:
                wrong.append(f"{_show(text)}: {error}")
                continue
            if tokens.ids.tolist() != ids:
                wrong.append(f"{_show(text)}: {tokens.ids.tolist()[:20]}, transformers {ids[:20]}")
            elif (problem := span_problem(text, tokens, offsets)) is not None:
                bad_spans.append(f"{_show(text)}: {problem}")
    yield f"{name}: ids of {count} strings", not wrong, f"{len(wrong)} differ, first {wrong[:3]}" if wrong else ""
    yield (f"{name}: spans of {count} strings", not bad_spans,
           f"{len(bad_spans)} are wrong, first {bad_spans[:3]}" if bad_spans else "")


def span_problem(text, tokens, offsets):
    """What is wrong with the spans, or None. Spans are in order, inside the text, cover all but white space, and in
    ASCII text each lies inside the characters that transformers names for the same id."""
    data, spans = tokens.text, tokens.spans
    if len(spans) == 0:
        return None if not data.decode("utf-8").strip() else "no id for a text that is not white space"
    begin, end = spans[:, 0], spans[:, 1]
    if (begin > end).any() or (begin < 0).any() or (end > len(data)).any():
        return f"a span is not inside the text: {spans.tolist()}"
    if (np.diff(begin) < 0).any() or (np.diff(end) < 0).any():
        return f"spans are out of order: {spans.tolist()}"
    covered = np.zeros(len(data) + 1, np.int64)
    np.add.at(covered, begin, 1)
    np.add.at(covered, end, -1)
    left = bytes(byte for byte, depth in zip(data, np.cumsum(covered)) if not depth)
    if left.decode("utf-8", "replace").strip():
        return f"no span covers {left!r}"
    if text.isascii() and spans.tolist() != [list(offset) for offset in offsets]:
        return f"{spans.tolist()}, transformers {offsets}"
    return None


def framed(name, model, tokenizer, texts):
    """Whole rows: start, body cut at 75, end, padding; and the numbers beside them."""
    wrong = []
    rows = tokenizer(texts, padding="max_length", truncation=True, max_length=model.info.context).input_ids
    bodies = tokenizer(texts, add_special_tokens=False).input_ids
    for text, ids, body in zip(texts, rows, map(len, bodies)):
        tokens = model.tokenize(text)
        kept = min(body, model.info.context - 2)
        found = (tokens.ids.tolist(), tokens.body_count, tokens.cut_count, tokens.cut_begin, tokens.end_position)
        # Ids of one composed character share its bytes: the cut begins where no kept id reaches.
        spans = model.tokenize(text, body=True).spans
        reach = spans[:kept, 1].max(initial=0)
        cut_begin = min((max(begin, reach) for begin, end in spans[kept:] if end > reach), default=len(tokens.text))
        if found != (ids, kept, body - kept, cut_begin, ids.index(tokenizer.eos_token_id)):
            wrong.append(f"{_show(text)}: {found}")
    yield f"{name}: {len(texts)} framed rows", not wrong, f"{len(wrong)} differ, first {wrong[:1]}" if wrong else ""


def vectors(path, field, model, leave_out=()):
    """The recorded vectors, which do not depend on the installed tokenizers."""
    wrong = []
    entries = [entry for entry in json.loads(path.read_text(encoding="utf-8")) if entry["name"] not in leave_out]
    for entry in entries:
        found = model.tokenize(entry["text"], body=True).ids.tolist()
        if found != entry[field]:
            wrong.append(f"{entry['name']}: {found}, expected {entry[field]}")
    yield f"{len(entries)} recorded vectors, {field}", not wrong, "; ".join(wrong[:3])
