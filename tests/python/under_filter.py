"""Becomes another program under a seccomp filter that allows the named system calls and kills at any other one.

    python3 under_filter.py FILE PROGRAM [ARGUMENT ...]

FILE has a system call's name on each line, as `systemd-analyze syscall-filter` prints them. systemd is no PID 1 where the
tests run, so this is what stands in for SystemCallFilter=; it kills where the unit's filter says EPERM, so that no
refused call goes unnoticed. Needs no_new_privs (setpriv --no-new-privs). Who calls: the test least_privilege.rs.
"""

import ctypes
import os
import sys

KILL_PROCESS = 0x80000000  # SCMP_ACT_KILL_PROCESS of seccomp.h
ALLOW = 0x7FFF0000  # SCMP_ACT_ALLOW


def main() -> None:
    names, program = sys.argv[1], sys.argv[2:]
    seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(KILL_PROCESS)))
    if not context:
        sys.exit("seccomp_init failed")
    allowed = 0
    with open(names, encoding="ascii") as lines:
        for name in lines.read().split():
            number = seccomp.seccomp_syscall_resolve_name(name.encode())
            # A name of another architecture, or newer than this libseccomp: systemd passes it over, too.
            if number < 0:
                continue
            if (code := seccomp.seccomp_rule_add(context, ctypes.c_uint32(ALLOW), number, 0)) != 0:
                sys.exit(f"seccomp_rule_add({name}): {code}")
            allowed += 1
    if allowed < 100:
        sys.exit(f"only {allowed} system calls would be allowed: {names} is no such list")
    if (code := seccomp.seccomp_load(context)) != 0:
        sys.exit(f"seccomp_load: {code}")
    os.execv(program[0], program)


main()
