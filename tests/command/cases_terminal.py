"""cases_terminal.py - progress on a terminal and nowhere else; Ctrl-C at any time leaves no file."""
import os
import pty
import select
import signal
import subprocess
import time

from harness import MODEL, PENULT, case, equal, penult, true

MANY = "\n".join(f"prompt number {number} with some words behind it" for number in range(5000)).encode()
HANG = 300  # seconds: not how long a thing takes, but what no busy machine explains


class OnTerminal:
    """A run whose stderr is a terminal. Used in a `with`: a case that fails leaves no run behind."""

    def __init__(self, *arguments, **options):
        self.terminal, other = pty.openpty()
        self.process = subprocess.Popen([str(word) for word in [PENULT, *arguments]], stderr=other,
                                        stdout=subprocess.DEVNULL, **options)
        os.close(other)
        self.seen = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)

    def read_until(self, word, seconds=HANG):
        """True when the word came, False when the process ended or the time passed before it."""
        limit = time.monotonic() + seconds
        while word not in self.seen and time.monotonic() < limit:
            ready, _, _ = select.select([self.terminal], [], [], 0.2)
            try:
                self.seen += os.read(self.terminal, 65536) if ready else b""
            except OSError:  # the other end is closed
                break
        return word in self.seen

    def end(self):
        status = self.process.wait(HANG)
        self.read_until(b"\0never\0", 1)
        return status


@case
def progress_and_interrupt(folder):
    """a long encode shows its progress on a terminal; Ctrl-C ends it as that signal and leaves no file"""
    (folder / "prompts").write_bytes(MANY)
    for number in (signal.SIGINT, signal.SIGTERM):
        with OnTerminal("encode", MODEL, "--prompts", folder / "prompts", "--pooled", "raw",
                        "--out", folder / "o.npy") as run:
            true(run.read_until(b"encoding ["), run.seen)
            run.process.send_signal(number)
            equal(run.end(), -number, run.seen)
            true(b"interrupted; nothing was written" in run.seen, run.seen)
        equal(os.listdir(folder), ["prompts"])


@case
def progress_is_for_terminals(folder):
    """no progress where stderr is no terminal, nor with --quiet"""
    prompts = b"\n".join(MANY.split(b"\n")[:400])
    run = penult("encode", MODEL, "-", "--pooled", "raw", stdin=prompts)
    equal((run.status, run.err), (0, b""))
    (folder / "prompts").write_bytes(prompts)
    with OnTerminal("encode", MODEL, "--prompts", folder / "prompts", "--pooled", "raw", "--quiet") as run:
        equal(run.end(), 0, run.seen)
        equal(run.seen, b"")


@case
def interrupt_while_reading(folder):
    """Ctrl-C while prompts are awaited ends the command"""
    process = subprocess.Popen([PENULT, "encode", MODEL, "-", "--out", folder / "o.npz"], stdin=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    process.stdin.write(b"one\n")
    process.stdin.flush()
    wait_for_sleep(process.pid)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=HANG)
    equal(process.returncode, -signal.SIGINT, err)
    true(b"interrupted" in err, err)
    equal(os.listdir(folder), [])


@case
def interrupt_while_writing(folder):
    """Ctrl-C while files are being written removes those that were finished already"""
    os.mkfifo(folder / "pipe.npz")
    process = subprocess.Popen([PENULT, "encode", MODEL, "x", "--layer", "-2", "--out", folder / "o.npy", "--out",
                                folder / "pipe.npz"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    limit = time.monotonic() + HANG
    while not any(".part-" in name for name in os.listdir(folder)) and time.monotonic() < limit:
        time.sleep(0.01)
    true(any(".part-" in name for name in os.listdir(folder)), "no file was begun")
    wait_for_sleep(process.pid)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=HANG)
    equal(process.returncode, -signal.SIGINT, err)
    equal(os.listdir(folder), ["pipe.npz"])


@case
def ignored_interrupts_stay_ignored(folder):
    """started with SIGINT ignored, as nohup and background jobs do with signals, the command goes on"""
    process = subprocess.Popen([PENULT, "tokenize", MODEL, "-", "--quiet"], stdin=subprocess.PIPE,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    wait_for_sleep(process.pid)
    process.send_signal(signal.SIGINT)
    process.communicate(b"one\n", timeout=HANG)
    equal(process.returncode, 0)


def wait_for_sleep(pid):
    """Until the process waits in the kernel for something, seen three times in a row."""
    seen, limit = 0, time.monotonic() + HANG
    while seen < 3 and time.monotonic() < limit:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            seen = seen + 1 if file.read().rsplit(")", 1)[1].split()[0] == "S" else 0
        time.sleep(0.05)
