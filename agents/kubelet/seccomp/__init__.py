"""Filters of system calls (seccomp): what a profile says, as a program of classic BPF that the kernel runs at every call. Pure."""
