//! What processes cost: CPU time and memory, read from `/proc`, so that it is the same measure for
//! any system.

use std::collections::BTreeMap;
use std::fs;

/// The parts of a system by name, each with the identifiers of its processes.
pub(crate) type Parts = BTreeMap<String, Vec<u32>>;

/// The processes below each, by the identifier of their parent.
fn children() -> BTreeMap<u32, Vec<u32>> {
    let mut out: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name in parentheses may hold anything; the parent is the second word after it.
        let after = stat.rsplit_once(") ").map(|(_, after)| after).unwrap_or_default();
        if let Some(parent) = after.split(' ').nth(1).and_then(|word| word.parse().ok()) {
            out.entry(parent).or_default().push(process);
        }
    }
    out
}

/// A process and all below it.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let below = children();
    let mut all = vec![root];
    let mut next = 0;
    while let Some(process) = all.get(next).copied() {
        all.extend(below.get(&process).into_iter().flatten());
        next += 1;
    }
    all
}

/// The command line of a process.
pub(crate) fn command_line(process: u32) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
    text.split('\0').map(str::to_owned).collect()
}

/// Nanoseconds on a CPU, in user space and in the kernel, of all threads that still run.
pub(crate) fn cpu(processes: &[u32]) -> u64 {
    let mut sum = 0;
    for process in processes {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            sum += text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    sum
}

/// The proportional set size, in kB: what is shared counts once.
pub(crate) fn memory(processes: &[u32]) -> u64 {
    let mut sum = 0;
    for process in processes {
        let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
        sum += line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0);
    }
    sum
}

/// CPU time of each part.
pub(crate) fn cpu_of(parts: &Parts) -> BTreeMap<String, u64> {
    parts.iter().map(|(name, processes)| (name.clone(), cpu(processes))).collect()
}

/// Memory of all parts together, in kB.
pub(crate) fn memory_of(parts: &Parts) -> u64 {
    parts.values().map(|processes| memory(processes)).sum()
}

/// What `/proc` says of this machine in a line.
pub(crate) fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> = cpus
        .lines()
        .filter(|line| line.starts_with("model name"))
        .filter_map(|line| line.split_once(": ").map(|(_, name)| name))
        .collect();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = memory.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{} virtual CPUs ({}), {} GiB, Linux {}",
        models.len(),
        models.first().unwrap_or(&"unknown"),
        total.unwrap_or(0).div_ceil(1 << 20),
        kernel.trim()
    )
}
