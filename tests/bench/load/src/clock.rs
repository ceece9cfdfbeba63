//! The CPU clocks of other processes.

use std::io;

/// Nanoseconds that a process has taken, all threads, in user mode and in the kernel.
pub(crate) fn cpu(pid: i32) -> io::Result<u64> {
    // CPUCLOCK_SCHED of a process, in the kernel's posix-timers.h.
    let clock = (!pid << 3) | 2;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec during the call.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let (seconds, nanoseconds) = (time.tv_sec.cast_unsigned(), time.tv_nsec.cast_unsigned());
    Ok(seconds * 1_000_000_000 + nanoseconds)
}
