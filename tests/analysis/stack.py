"""stack.py - reads gcc's call graphs (-fcallgraph-info=su: a .ci file for each object, in VCG's format) into one graph, and
finds functions that reach themselves and the deepest chain of frames. Calls through pointers are not in the graph: the
engine's are those of its tables (kernels, workers, callbacks), none of which leads back into a parser. Knows no source."""
import re

NODE = re.compile(r'node: { title: "([^"]+)" label: "([^"]*)"')
EDGE = re.compile(r'edge: { sourcename: "([^"]+)" targetname: "([^"]+)"')
FRAME = re.compile(r"\\n(\d+) bytes \((static|dynamic|dynamic,bounded)\)")


class Function:
    def __init__(self, title):
        self.title, self.frame, self.calls = title, 0, set()

    def name(self):
        return self.title.split(":")[-1]


def read(paths):
    """title -> Function, of functions that have a body here. A static function's title has its file's name in it."""
    known, edges = {}, []
    for path in sorted(paths):
        text = path.read_text()
        for title, label in NODE.findall(text):
            frame = FRAME.search(label)
            if frame:
                known.setdefault(title, Function(title)).frame = int(frame.group(1))
        edges += EDGE.findall(text)
    for source, target in edges:
        if source in known and target in known:
            known[source].calls.add(target)
    return known


def cycles(graph):
    """Each cycle once, as names; depth first with a stack of our own."""
    found, state = [], {}
    for root in graph:
        trail = [(root, iter(sorted(graph[root].calls)))] if root not in state else []
        if trail:
            state[root] = "open"
        while trail:
            title, calls = trail[-1]
            nearest = next(calls, None)
            if nearest is None:
                state[title] = "done"
                trail.pop()
            elif state.get(nearest) == "open":
                names = [t for t, _ in trail]
                found.append([graph[t].name() for t in names[names.index(nearest):] + [nearest]])
            elif nearest not in state:
                state[nearest] = "open"
                trail.append((nearest, iter(sorted(graph[nearest].calls))))
    return found


def deepest(graph):
    """(bytes, names) of the chain with the most frame bytes; the graph has no cycles, or those calls count once."""
    best, order, seen = {}, [], set()
    for root in graph:
        work = [(root, False)]
        while work:
            title, finished = work.pop()
            if finished:
                order.append(title)
            elif title not in seen:
                seen.add(title)
                work.append((title, True))
                work += [(call, False) for call in graph[title].calls if call not in seen]
    for title in order:
        below = max(((best[c][0], c) for c in graph[title].calls if c in best), default=(0, None))
        best[title] = (graph[title].frame + below[0], below[1])
    top = max(best, key=lambda title: best[title][0], default=None)
    chain, at = [], top
    while at:
        chain.append(graph[at].name())
        at = best[at][1]
    return (best[top][0] if top else 0), chain
