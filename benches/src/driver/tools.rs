//! What the machine has: programs, cores, and a name for it in the report.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use crate::Result;

/// Where the load and its backend run, and where the proxy runs alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    pub(crate) load: usize,
    pub(crate) proxy: usize,
}

impl Cores {
    /// Of those that this process may use: the first, and the first other one that is no hyperthread of it.
    pub(crate) fn choose() -> Result<Self> {
        let allowed = rustix::thread::sched_getaffinity(None)?;
        let cores: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|c| allowed.is_set(*c)).collect();
        let load = *cores.first().ok_or("no core to run on")?;
        let siblings = fs::read_to_string(format!("/sys/devices/system/cpu/cpu{load}/topology/thread_siblings_list"));
        let siblings: Vec<usize> = siblings.map(|list| parse_list(&list)).unwrap_or_default();
        let other = cores.iter().skip(1).find(|c| !siblings.contains(c)).or(cores.get(1));
        if other.is_none() {
            eprintln!("bench: one core only: the proxy shares it with the load, and ratios lean towards 1");
        }
        Ok(Self { load, proxy: other.copied().unwrap_or(load) })
    }
}

/// The kernel's lists of cores: `0-2,5`.
fn parse_list(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<usize>().ok()?..=last.trim().parse::<usize>().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

/// `name` on the path or where Debian keeps servers.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    places.map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// nginx from Debian's package, unpacked into `dir` and not installed: nothing of the system changes, nothing starts.
pub(crate) fn download_nginx(dir: &Path) -> Result<PathBuf> {
    let binary = dir.join("usr/sbin/nginx");
    if binary.is_file() {
        return Ok(binary);
    }
    fs::create_dir_all(dir)?;
    eprintln!("bench: nginx is not installed: unpacking Debian's package into {}", dir.display());
    let fetch = "apt-get download nginx || { apt-get update && apt-get download nginx; }; dpkg --extract nginx_*.deb .";
    let done = Command::new("sh").args(["-e", "-c", fetch]).current_dir(dir).output()?;
    if !done.status.success() || !binary.is_file() {
        let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
        return Err(format!("no nginx: {said}; install it (`apt-get install nginx`) or name others with --only").into());
    }
    Ok(binary)
}

/// The first line that `path` says when it is asked for its version.
pub(crate) fn version(path: &Path, flag: &str) -> String {
    let said = Command::new(path).arg(flag).output().map(|o| [o.stdout, o.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&said).lines().next().unwrap_or("unknown version").to_owned()
}

/// Processor, kernel, cores and how busy it is.
pub(crate) fn machine(cores: &Cores) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": ")).map_or("unknown", |(_, m)| m);
    let count = thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ");
    format!(
        "{model}, {count} cores (load on {}, proxy on {}), Linux {}, load average {load}",
        cores.load,
        cores.proxy,
        kernel.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_have_ranges() {
        assert_eq!(parse_list("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(parse_list("3\n"), [3]);
        assert_eq!(parse_list(""), Vec::<usize>::new());
    }

    #[test]
    fn the_machine_has_a_shell_and_cores() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program").is_none());
        assert!(!machine(&Cores::choose().unwrap()).starts_with("unknown"));
    }
}
