//! Resources that this process has used.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The CPU time, user and system, of all threads of this process.
///
/// From the process clock, which counts nanoseconds; the fields in `/proc` count hundredths of a second.
pub fn cpu_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(spent.tv_sec).unwrap_or(0), u32::try_from(spent.tv_nsec).unwrap_or(0))
}

/// The most memory that was ever resident, in KiB; 0 where the system does not tell.
///
/// `VmHWM` and not `ru_maxrss`: the latter starts at the size of whoever spawned the process.
pub fn peak_kib() -> u64 {
    status("VmHWM:")
}

/// The threads that are there now; 0 where the system does not tell.
pub fn threads() -> u64 {
    status("Threads:")
}

fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_has_used_something() {
        assert!(super::cpu_time().as_nanos() > 0);
        assert!(super::peak_kib() > 100);
        assert!(super::threads() > 0);
    }
}
