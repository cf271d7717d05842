"""The processes of the bench: starting them, giving them their turn, and watching their memory.

Knows the lines that the peers speak (peer_penult.c has them) and what each program wants to be told. Knows no table and no
statistics.
"""
import dataclasses
import json
import os
import pathlib
import struct
import subprocess
import threading
import time

KERNELS = {"best": 0, "scalar": 1, "openblas": 2, "avx2": 3, "avx512": 4, "amx": 5}
# what holds the libraries to the instructions that a kernel set of ours has
MASKS = {
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "ATEN_CPU_CAPABILITY": "avx512", "MKL_ENABLE_INSTRUCTIONS": "AVX512"},
}
HERE = pathlib.Path(__file__).parent


class PeerFailed(Exception):
    pass


@dataclasses.dataclass(frozen=True)
class Kind:
    """program: penult, torch, onnxruntime, sdcpp, read (the floor), penult-tokens, tokenizers; weights: of the file; kernels and
    arithmetic: of Penult; task: as peer_penult.c and peer_torch.py have it; label: a name, where the others would be one"""
    program: str
    weights: str
    threads: int = 1
    batch: int = 1
    kernels: str = "best"
    arithmetic: str = "exact"
    task: str = "encode"
    label: str = ""

    @property
    def name(self):
        return self.label or " ".join([self.program, self.weights] + [self.kernels] * (self.kernels != "best")
                                      + [f"fast {self.arithmetic}"] * (self.arithmetic != "exact"))


def block_range(path):
    """Where the block weights lie in the file: they are neighbours by name."""
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
    offsets = [value["data_offsets"] for name, value in header.items() if ".layers." in name]
    begin, end = min(offset[0] for offset in offsets), max(offset[1] for offset in offsets)
    if end - begin != sum(offset[1] - offset[0] for offset in offsets):
        raise PeerFailed(f"{path}: other tensors lie between the block weights")
    return 8 + size + begin, 8 + size + end


@dataclasses.dataclass(frozen=True)
class Places:
    build: pathlib.Path
    models: pathlib.Path
    plugin: pathlib.Path
    python: str  # an interpreter with transformers and torch, or ""
    packages: str  # a folder with onnxruntime, or ""
    mask: str

    def command(self, kind):
        model, threads, batch = str(self.models / kind.weights), str(kind.threads), str(kind.batch)
        tools, tokens = self.build / "bench", self.build / "bench" / "tokens"
        if kind.program == "torch":
            return [self.python, str(HERE / "peer_torch.py"), model, kind.weights, threads, batch, kind.task]
        if kind.program == "onnxruntime":
            return [self.python, str(HERE / "peer_onnx.py"), str(self.models / "onnx"), threads, batch]
        if kind.program == "sdcpp":
            return [str(tools / "peer_sdcpp"), model, threads, batch]
        if kind.program == "read":
            path = self.models / kind.weights / "model.safetensors"
            return [str(tools / "read_weights"), str(path), *map(str, block_range(path)), threads]
        if kind.program == "tokenizers":
            return [self.python, str(HERE / "peer_tokenizers.py"), str(tokens / "tokenizer" / "tokenizer.json"),
                    str(tokens / "texts")]
        if kind.program == "penult-tokens":
            return [str(tools / "peer_tokenizer"), str(self.plugin), str(tokens / "tokenizer"), str(tokens / "texts")]
        kernels = self.mask if self.mask and kind.kernels == "best" else kind.kernels
        return [str(tools / "peer_penult"), str(self.plugin), model, threads, batch, str(KERNELS[kernels]), kind.task,
                kind.arithmetic]

    def environment(self):
        """A torch that looks for the network would be timed for it."""
        return {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                "PYTHONDONTWRITEBYTECODE": "1", **({"PYTHONPATH": self.packages} if self.packages else {}),
                **MASKS.get(self.mask, {})}

    def arithmetics(self):
        """The named arithmetics that Penult has beside the exact one."""
        done = subprocess.run([str(self.build / "bench" / "peer_penult"), "--arithmetics"], check=True, capture_output=True,
                              text=True)
        return [name for name in done.stdout.split() if name != "exact"]


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
    def __init__(self, places, kind):
        self.kind = kind
        command, environment = places.command(kind), places.environment()
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, env=environment)

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


def prepare(places, kind, save_to):
    """(peer, what it said and took): opened and run once, the result saved."""
    peer = Peer(places, kind)
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


WARM_RUNS = 3


def cold(places, kind):
    """Seconds from starting the process to its first result, what it said on the way, and the median of its next runs."""
    peer = Peer(places, kind)
    peer.send("open")
    peer.send("run")
    peer.hear("load")
    loaded = time.monotonic() - peer.began
    opened = peer.hear("open")
    first = peer.hear("run")
    total = time.monotonic() - peer.began
    warm = sorted(peer.ask("run")["wall"] for _ in range(WARM_RUNS))[WARM_RUNS // 2]
    peer.end()
    return {"total": total, "load": loaded, "model_open": opened["model_open"], "session_open": opened.get("session_open"),
            "run": first["wall"], "warm": warm, "major_faults": first["major_faults"]}
