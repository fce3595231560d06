"""The profile RuntimeDefault: what containers may call unless they ask for more, as the profiles of Docker and containerd have it. Pure.

Everything that `syscalls` knows, but for what is below: some only with a capability that the container was given, some never (what reaches beyond
the container's own namespaces, has a history of holes, or is long gone from the kernel).
"""

from collections.abc import Collection

from agents.kubelet.seccomp import syscalls
from agents.kubelet.seccomp.profile import ENOSYS, EPERM, Condition, Profile, Rule

ALLOW, DENY = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
_GIVEN_BY = {
    "BPF": "bpf",
    "DAC_READ_SEARCH": "open_by_handle_at",
    "PERFMON": "perf_event_open",
    "SYSLOG": "syslog",
    "SYS_ADMIN": """
        bpf clone3 fanotify_init fsconfig fsmount fsopen fspick listmount lookup_dcookie lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount
        mount_setattr move_mount name_to_handle_at open_tree open_tree_attr perf_event_open quotactl quotactl_fd setdomainname sethostname setns
        statmount syslog umount umount2 unshare
    """,
    "SYS_BOOT": "reboot",
    "SYS_CHROOT": "chroot",
    "SYS_MODULE": "delete_module finit_module init_module",
    "SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "SYS_PACCT": "acct",
    "SYS_PTRACE": "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev",
    "SYS_RAWIO": "ioperm iopl",
    "SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "SYS_TTY_CONFIG": "vhangup",
}
_NEVER = """
_sysctl add_key afs_syscall bdflush break create_module ftime get_kernel_syms getpmsg gtty idle io_uring_enter io_uring_register io_uring_setup
kexec_file_load kexec_load keyctl lock migrate_pages move_pages mpx nfsservctl nice oldfstat oldlstat oldolduname oldstat olduname pivot_root prof
profil putpmsg query_module readdir request_key security sgetmask sigaction signal sigpending sigsuspend ssetmask stty swapoff swapon sysfs tuxcall
ulimit uselib userfaultfd ustat vm86 vm86old vserver
"""
NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET."""
PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""Linux, Linux with addresses as 32-bit processes have them, both with a 2.6 version, and: tell me the present one."""
AF_VSOCK = 40
"""Sockets to the machine's hypervisor know no network namespace."""
CONDITIONAL = {"clone", "clone3", "personality", "socket"}


def profile(capabilities: Collection[str]) -> Profile:
    """`capabilities`: names, without CAP_, of those that the container can have (its bounding set)."""
    names = set(syscalls.X86_64) | set(syscalls.X86) | set(syscalls.AARCH64)
    names -= {*_NEVER.split(), *CONDITIONAL, *(name for given in _GIVEN_BY.values() for name in given.split())}
    names |= {name for capability in capabilities for name in _GIVEN_BY.get(capability, "").split()}
    rules = [Rule(tuple(sorted(names)), ALLOW)]
    rules += [Rule(("personality",), ALLOW, args=(Condition(0, value, "SCMP_CMP_EQ"),)) for value in PERSONALITIES]
    # The kernel takes the lower half for the family: what stands above it must be no way around.
    rules.append(Rule(("socket",), DENY, EPERM, args=(Condition(0, 0xFFFFFFFF, "SCMP_CMP_MASKED_EQ", AF_VSOCK),)))
    rules.append(Rule(("socket",), ALLOW))
    if "SYS_ADMIN" in capabilities:
        rules.append(Rule(("clone",), ALLOW))
    else:
        rules.append(Rule(("clone",), ALLOW, args=(Condition(0, NAMESPACES, "SCMP_CMP_MASKED_EQ", 0),)))
        # Its arguments are behind a pointer, where no filter can look: programs take this answer as "use clone".
        rules.append(Rule(("clone3",), DENY, ENOSYS))
    return Profile(DENY, EPERM, ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_AARCH64"), tuple(rules))
