"""What machine this is and how busy: from /proc and /sys, nothing changed. What cannot be read is None."""
import os
import pathlib
import platform
import subprocess

# the flags that decide which kernels run here, of ours and of torch's
FLAGS = ("avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_bf16", "avx512_vnni", "avx512_fp16",
         "avx_vnni", "amx_tile", "amx_bf16", "amx_int8", "hypervisor")


def read(path):
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:
        return None


def output_of(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def cpu_fields():
    first = (read("/proc/cpuinfo") or "").split("\n\n")[0]
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}


def caches():
    found = {}
    for index in sorted(pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind = {"Data": "d", "Instruction": "i"}.get(read(index / "type"), "")
        found[f"L{read(index / 'level')}{kind}"] = read(index / "size")
    return found


def system_name():
    lines = (read("/etc/os-release") or "").splitlines()
    return next((line.partition("=")[2].strip('"') for line in lines if line.startswith("PRETTY_NAME=")), None)


def describe(root):
    cpu = cpu_fields()
    flags = set(cpu.get("flags", cpu.get("Features", "")).split())
    memory = {line.split(":")[0]: int(line.split()[1]) for line in (read("/proc/meminfo") or "").splitlines()}
    return {
        "cpu": cpu.get("model name"),
        "family_model_stepping": [cpu.get(key) for key in ("cpu family", "model", "stepping")],
        "flags": [flag for flag in FLAGS if flag in flags],
        "cpus": os.cpu_count(),
        "cpus_usable": len(os.sched_getaffinity(0)),
        "cgroup_quota": read("/sys/fs/cgroup/cpu.max"),
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "mhz": cpu.get("cpu MHz"),
        "caches": caches(),
        "memory_mib": memory.get("MemTotal", 0) >> 10,
        "memory_available_mib": memory.get("MemAvailable", 0) >> 10,
        "huge_pages": read("/sys/kernel/mm/transparent_hugepage/enabled"),
        "kernel": platform.release(),
        "system": system_name(),
        "commit": output_of("git", "-C", str(root), "describe", "--always", "--dirty"),
        "load": list(os.getloadavg()),
    }


def sentences(machine):
    """The same for people."""
    cpu = machine["cpu"] or platform.machine()
    return [
        f"machine   {cpu}, family/model/stepping {'/'.join(str(part) for part in machine['family_model_stepping'])}, "
        f"{machine['cpus']} CPUs ({machine['cpus_usable']} usable), "
        + " ".join(f"{name} {size}" for name, size in machine["caches"].items()),
        f"          {' '.join(machine['flags'])}",
        f"          memory {machine['memory_mib']} MiB ({machine['memory_available_mib']} available); governor "
        f"{machine['governor'] or 'not readable'}; {machine['mhz'] or '?'} MHz as the system says; "
        f"huge pages {machine['huge_pages'] or 'not readable'}",
        f"          {machine['system']}, Linux {machine['kernel']}; source {machine['commit'] or 'not in git'}",
        "load      " + " ".join(f"{load:.2f}" for load in machine["load"]) + " (1, 5 and 15 minutes) at the start",
    ]


class Busy:
    """How much of the machine others took between two moments."""

    def __init__(self):
        self.before = self._ticks()

    @staticmethod
    def _ticks():
        numbers = [int(word) for word in read("/proc/stat").split("\n")[0].split()[1:9]]
        user, nice, system, idle, wait, interrupt, soft, steal = numbers
        return {"busy": user + nice + system + interrupt + soft, "steal": steal, "all": sum(numbers)}

    def since(self, own_seconds):
        """(CPUs that others kept busy, CPUs that the hypervisor took) on average; own_seconds: CPU time of ours."""
        after = self._ticks()
        passed = {key: after[key] - self.before[key] for key in after}
        cpus, per_second = os.cpu_count(), os.sysconf("SC_CLK_TCK")
        if not passed["all"]:
            return 0.0, 0.0
        wall = passed["all"] / per_second / cpus
        return max(0.0, passed["busy"] / per_second - own_seconds) / wall, passed["steal"] / per_second / wall
