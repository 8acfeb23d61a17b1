//! What the kernel says of a process: CPU time and memory. And the bound on open files.

use std::fs;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::Result;

/// CPU time of all living threads of process `pid`, user and system, in nanoseconds.
///
/// From `/proc/PID/task/*/schedstat`, whose first field is the scheduler's own nanoseconds; `/proc/PID/stat` counts in
/// ticks of 10 ms. Threads that ended are not in it, so it fits processes whose threads stay.
///
/// # Errors
/// When the process is gone, or the kernel was built without schedstats.
pub fn cpu_ns(pid: u32) -> Result<u64> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).map_err(|e| format!("process {pid}: {e}"))? {
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
            continue; // a thread that ended between the two calls
        };
        let on_cpu = text.split_ascii_whitespace().next().ok_or("the kernel counts no schedstats")?;
        total += on_cpu.parse::<u64>()?;
    }
    Ok(total)
}

/// Resident memory of process `pid` in KiB.
///
/// From `smaps_rollup`, which walks the pages; `VmRSS` in `status` is kept by CPU and lags.
///
/// # Errors
/// When the process is gone.
pub fn resident_kib(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).map_err(|e| format!("process {pid}: {e}"))?;
    let line = text.lines().find_map(|l| l.strip_prefix("Rss:")).ok_or("smaps_rollup names no Rss")?;
    let kib = line.trim().trim_end_matches(" kB").trim();
    Ok(kib.parse()?)
}

/// Raises the bound on open files to the hard limit, for this process and those it starts. Returns the bound.
///
/// # Errors
/// When the kernel refuses.
pub fn raise_open_files() -> Result<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_grows_with_work() {
        let before = cpu_ns(std::process::id()).unwrap();
        let mut sum = 0u64;
        while cpu_ns(std::process::id()).unwrap() == before {
            sum = (0..100_000u64).fold(sum, |a, b| std::hint::black_box(a.wrapping_mul(31) ^ b));
        }
    }

    #[test]
    fn resident_memory_contains_what_was_touched() {
        let before = resident_kib(std::process::id()).unwrap();
        let touched = std::hint::black_box(vec![1u8; 32 << 20]);
        assert!(resident_kib(std::process::id()).unwrap() >= before + (31 << 10));
        drop(touched);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(cpu_ns(u32::MAX).is_err());
        assert!(resident_kib(u32::MAX).is_err());
    }
}
