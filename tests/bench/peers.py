"""The processes of the bench: starting them, giving them their turn, and watching their memory.

Knows the lines that peer_penult.c and peer_torch.py speak. Knows no table and no statistics.
"""
import dataclasses
import json
import os
import pathlib
import subprocess
import threading
import time

KERNELS = {"best": 0, "scalar": 1, "openblas": 2, "avx2": 3, "avx512": 4}


class PeerFailed(Exception):
    pass


@dataclasses.dataclass(frozen=True)
class Kind:
    """program: penult or torch; weights: of the file; kernels: of Penult"""
    program: str
    weights: str
    kernels: str = "best"

    @property
    def name(self):
        return f"{self.program} {self.weights}" + (f" {self.kernels}" if self.kernels != "best" else "")


@dataclasses.dataclass(frozen=True)
class Places:
    build: pathlib.Path
    models: pathlib.Path
    plugin: pathlib.Path
    torch: str  # an interpreter, or ""

    def command(self, kind, threads, batch):
        model = str(self.models / kind.weights)
        if kind.program == "torch":
            return [self.torch, str(pathlib.Path(__file__).with_name("peer_torch.py")), model, kind.weights, str(threads),
                    str(batch)]
        return [str(self.build / "bench" / "peer_penult"), str(self.plugin), model, str(threads), str(batch),
                str(KERNELS[kind.kernels])]


def status_of(pid):
    """{RssAnon, RssFile, ...: KiB}; empty once the process is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return {}
    return {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines() if line.startswith(("Rss", "VmHWM"))}


class Watch:
    """The largest RssAnon and RssFile of a process while the watch runs; looks every 5 ms. A peak that is shorter may be
    missed, so it also keeps VmHWM, which the kernel measures: the peak of both together."""

    def __init__(self, pid):
        self.peak, self._pid, self._end = {}, pid, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self):
        while True:
            for key, value in status_of(self._pid).items():
                self.peak[key] = max(value, self.peak.get(key, 0))
            if self._end.wait(0.005):
                return

    def end(self):
        self._end.set()
        self._thread.join()
        return self.peak


class Peer:
    def __init__(self, places, kind, threads, batch):
        self.kind = kind
        self.began = time.monotonic()
        # a torch that looks for the network would be timed for it
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error",
                       "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        self.process = subprocess.Popen(places.command(kind, threads, batch), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    def send(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # what it says about why is on its standard error: see hear

    def hear(self, did):
        """The answer to one line."""
        while True:
            line = self.process.stdout.readline()
            if not line:
                self.process.stdin.close()
                why = self.process.stderr.read().strip().splitlines()[-3:]
                raise PeerFailed(f"{self.kind.name}: ended with status {self.process.wait()}: {' / '.join(why)}")
            if line.startswith("{"):
                answer = json.loads(line)
                if answer["did"] != did:
                    raise PeerFailed(f"{self.kind.name}: answered {line.strip()}, expected to hear of {did}")
                return answer

    def ask(self, line):
        self.send(line)
        return self.hear(line.split()[0])

    def memory(self):
        return status_of(self.process.pid)

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
        self.process.stderr.close()


def prepare(places, kind, threads, batch, save_to):
    """(peer, what it said and took): opened and run once, the result saved."""
    peer = Peer(places, kind, threads, batch)
    watch = Watch(peer.process.pid)
    try:
        peer.hear("load")
        loaded = peer.memory()
        opened = peer.ask("open")
        first = peer.ask("run")
        if save_to:
            peer.ask(f"save {save_to}")
        return peer, {"opened": opened, "first": first, "memory_loaded": loaded, "memory_peak": watch.end(),
                      "memory_after": peer.memory()}
    except BaseException:
        watch.end()
        peer.process.kill()
        raise


def cold(places, kind, threads):
    """Seconds from starting the process to its first result, and what it said on the way."""
    peer = Peer(places, kind, threads, 1)
    peer.send("open")
    peer.send("run")
    peer.hear("load")
    loaded = time.monotonic() - peer.began
    opened = peer.hear("open")
    first = peer.hear("run")
    total = time.monotonic() - peer.began
    peer.end()
    return {"total": total, "load": loaded, "model_open": opened["model_open"],
            "session_open": opened.get("session_open"), "run": first["wall"], "major_faults": first["major_faults"]}
