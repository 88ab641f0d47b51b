//! Resources that this process has used.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The CPU time, user and system, of all threads of this process.
///
/// From the process clock, which is more exact than the fields in `/proc`.
pub fn cpu_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(spent.tv_sec).unwrap_or(0), u32::try_from(spent.tv_nsec).unwrap_or(0))
}

/// Peak resident memory, in KiB; 0 if unknown.
///
/// From `VmHWM`, because `ru_maxrss` starts at the size of the parent process.
pub fn peak_kib() -> u64 {
    status("VmHWM:")
}

/// Current number of threads; 0 if unknown.
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
