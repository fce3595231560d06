"""What of /proc and /sys a container must not see, or not change (the kubelet's and Docker's lists): it is about the whole machine."""

from pathlib import Path

_MASKED = """
/proc/asound /proc/acpi /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats /proc/sched_debug /proc/scsi
/sys/firmware /sys/devices/virtual/powercap
"""
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def masked() -> list[str]:
    """With the counters of each processor that tell how warm it was: they tell one tenant what another one does."""
    return [*_MASKED.split(), *sorted(str(path) for path in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle"))]
