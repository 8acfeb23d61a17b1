//! What the operating system says of this process. Linux; elsewhere the numbers are left out.

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Resident memory in bytes.
pub(super) fn resident() -> Option<u64> {
    let status = String::from_utf8(std::fs::read("/proc/self/status").ok()?).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    // proc_pid_status(5): always in kB, which are KiB.
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Open file descriptors.
pub(super) fn open_fds() -> Option<u64> {
    // Since Linux 6.2 the folder's size is their number. Walking it takes tens of milliseconds at 100 000 sockets.
    match std::fs::metadata("/proc/self/fd").ok()?.len() {
        // The walk itself holds one.
        0 => Some((std::fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1)),
        size => Some(size),
    }
}

/// The limit on open file descriptors; none where there is no limit.
pub(super) fn max_fds() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// CPU time of all threads, in seconds.
pub(super) fn cpu_seconds() -> f64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_this_process_are_plausible() {
        let rss = resident().unwrap();
        assert!((1 << 20..1 << 40).contains(&rss), "{rss}");
        assert!(cpu_seconds() > 0.0);
        assert!(max_fds().is_none_or(|max| max >= open_fds().unwrap()));
    }

    #[test]
    fn an_opened_file_is_one_descriptor_more() {
        // Other tests of the process open and close files too, so many at once stand out.
        let before = open_fds().unwrap();
        let held: Vec<_> = (0..100).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let after = open_fds().unwrap();
        assert!(after >= before + held.len() as u64 / 2, "{before} {after}");
    }
}
