//! What the system knows of a process and all that it has started: CPU time and memory.

use std::{collections::HashMap, fs, time::Duration};

/// How `/proc` counts CPU time: in hundredths of a second, on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// The CPU time that `pid` and its descendants have taken, those that have ended included.
pub(crate) fn cpu(pid: u32) -> Duration {
    let ticks: u32 = tree(pid).iter().map(|stat| stat.ticks).sum();
    TICK * ticks
}

/// The most memory that `pid` and its descendants have had resident, in bytes: the sum of each one's most. What they share counts for each.
pub(crate) fn peak_memory(pid: u32) -> u64 {
    of_status(pid, "VmHWM:")
}

/// The memory that `pid` and its descendants have resident now, in bytes.
pub(crate) fn memory(pid: u32) -> u64 {
    of_status(pid, "VmRSS:")
}

/// The model of the processors, if the system says.
pub(crate) fn cpu_model() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// How many processes wanted a processor over the last minute.
pub(crate) fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split(' ').next().and_then(|n| n.parse().ok());
    first.unwrap_or_default()
}

/// What is read of `/proc/PID/stat`.
struct Stat {
    pid: u32,
    parent: u32,
    ticks: u32,
}

/// Proc(5): after the name, which stands in parentheses and may hold anything, field 3 is the state, 4 the parent, 14 to 17 are the times in user
/// and system mode, of itself and of the children it has waited for.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u32>().ok();
    Some(Stat {
        pid,
        parent: number(4)?,
        ticks: number(14)? + number(15)? + number(16)? + number(17)?,
    })
}

/// The process and its descendants.
fn tree(root: u32) -> Vec<Stat> {
    let folders = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = folders.filter_map(|folder| folder.file_name().to_str()?.parse().ok());
    let mut children: HashMap<u32, Vec<Stat>> = HashMap::new();
    for stat in pids.filter_map(stat) {
        children.entry(stat.parent).or_default().push(stat);
    }
    let mut found: Vec<Stat> = stat(root).into_iter().collect();
    let mut next = 0;
    while let Some(stat) = found.get(next) {
        found.extend(children.remove(&stat.pid).unwrap_or_default());
        next += 1;
    }
    found
}

fn of_status(pid: u32, field: &str) -> u64 {
    let kilobytes = |stat: &Stat| -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", stat.pid)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(field))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    };
    tree(pid).iter().filter_map(kilobytes).sum::<u64>() * 1024
}
