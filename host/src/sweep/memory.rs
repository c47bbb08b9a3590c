//! How much memory there is, as far as Linux tells.

use std::fs;

/// Bytes that processes may still take: of the machine, and of the group that this process is confined to. `None` where
/// nothing says it.
pub(super) fn available() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| meminfo(&text));
    let group = group();
    machine.into_iter().chain(group).min()
}

/// Bytes that a process has in memory.
pub(super) fn resident(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    kib(&text, "VmRSS:").unwrap_or(0) * 1024
}

fn meminfo(text: &str) -> Option<u64> {
    kib(text, "MemAvailable:").map(|kib| kib * 1024)
}

fn kib(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)).and_then(|rest| rest.split_whitespace().next()?.parse().ok())
}

/// Of control groups, version 2: the limit less what is used and cannot be given back.
fn group() -> Option<u64> {
    let read = |name: &str| fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok();
    of_group(&read("memory.max")?, &read("memory.current")?, &read("memory.stat").unwrap_or_default())
}

fn of_group(max: &str, current: &str, stat: &str) -> Option<u64> {
    let (max, current): (u64, u64) = (max.trim().parse().ok()?, current.trim().parse().ok()?);
    let files = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse().ok()).unwrap_or(0);
    Some(max.saturating_sub(current.saturating_sub(files)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_understood() {
        assert_eq!(meminfo("MemTotal:  100 kB\nMemAvailable:   2048 kB\n"), Some(2 << 20));
        assert_eq!(meminfo("nothing"), None);
        assert_eq!(of_group("max\n", "100\n", ""), None);
        assert_eq!(of_group("1000\n", "300\n", "anon 5\ninactive_file 100\n"), Some(800));
        assert_eq!(of_group("1000\n", "1200\n", ""), Some(0));
    }
}
