//! [`ProcessCollector`]: what the system says of this process, under the names that Prometheus' own clients use for it. Read when the metrics are.

use std::{fs, time::SystemTime};

use prometheus::{
    Counter, Gauge, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// How many ticks of a clock the kernel's times for users have in a second: the same on all systems that this runs on, whatever the kernel's own clock does (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// Memory, file descriptors, threads and time of this process. Where the system doesn't say (there is no `/proc`), there is nothing.
pub(super) struct ProcessCollector {
    resident: Gauge,
    virtual_memory: Gauge,
    open_files: Gauge,
    most_files: Gauge,
    threads: Gauge,
    cpu: Counter,
    started: Gauge,
    /// When this was made, which is soon after the start.
    made: SystemTime,
}

impl ProcessCollector {
    /// One that has read nothing yet.
    ///
    /// # Errors
    /// Never: the names are literals.
    pub(super) fn new() -> prometheus::Result<Self> {
        let gauge = |name, help| Gauge::with_opts(Opts::new(name, help));
        Ok(Self {
            resident: gauge(
                "process_resident_memory_bytes",
                "Memory of this process that is in RAM",
            )?,
            virtual_memory: gauge(
                "process_virtual_memory_bytes",
                "Addresses that this process has reserved",
            )?,
            open_files: gauge(
                "process_open_fds",
                "Files and sockets that are open in this process",
            )?,
            most_files: gauge("process_max_fds", "How many of them there may be")?,
            threads: gauge("process_threads", "Threads of this process")?,
            cpu: Counter::with_opts(Opts::new(
                "process_cpu_seconds_total",
                "Time that processors spent on this process",
            ))?,
            started: gauge(
                "process_start_time_seconds",
                "When this process was started, in seconds since 1970",
            )?,
            made: SystemTime::now(),
        })
    }

    /// When the process was started. A sandbox may hide when the machine was (`ProcSubset=pid`).
    fn started(&self, times: Times) -> f64 {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let made = self.made.duration_since(SystemTime::UNIX_EPOCH);
        booted(&stat).map_or_else(
            || made.unwrap_or_default().as_secs_f64(),
            |booted| booted + times.started,
        )
    }

    /// Reads anew, and returns the metrics that the system said something for.
    fn read(&self) -> Vec<&dyn Collector> {
        let of = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let status = of("/proc/self/status");
        let limits = of("/proc/self/limits");
        let stat = of("/proc/self/stat");
        let times = Times::of(&stat);
        let gauges = [
            (&self.resident, kibibytes(&status, "VmRSS:")),
            (&self.virtual_memory, kibibytes(&status, "VmSize:")),
            (&self.threads, number(&status, "Threads:")),
            (&self.open_files, open_files()),
            (&self.most_files, number(&limits, "Max open files")),
            (&self.started, times.map(|times| self.started(times))),
        ];
        let mut said = Vec::<&dyn Collector>::new();
        for (gauge, value) in gauges {
            if let Some(value) = value {
                gauge.set(value);
                said.push(gauge);
            }
        }
        if let Some(times) = times {
            // Two who read at once may have read in another order than they count in.
            self.cpu.inc_by((times.cpu - self.cpu.get()).max(0.0));
            said.push(&self.cpu);
        }
        said
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        let gauges = [
            &self.resident,
            &self.virtual_memory,
            &self.open_files,
            &self.most_files,
            &self.threads,
            &self.started,
        ];
        let gauges = gauges.into_iter().flat_map(Collector::desc);
        gauges.chain(self.cpu.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let said = self.read().into_iter();
        said.flat_map(Collector::collect).collect()
    }
}

/// What `/proc/self/stat` says of time, in seconds (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq)]
struct Times {
    /// In user mode and in the kernel.
    cpu: f64,
    /// From the machine's start to that of the process.
    started: f64,
}

impl Times {
    fn of(stat: &str) -> Option<Self> {
        // The second field is the program's name in brackets, which may have anything in it. The next one is the third.
        let (_, fields) = stat.rsplit_once(')')?;
        let field = |number: usize| {
            let field = fields.split_whitespace().nth(number - 3)?;
            field.parse::<f64>().ok()
        };
        Some(Self {
            cpu: (field(14)? + field(15)?) / TICKS_PER_SECOND,
            started: field(22)? / TICKS_PER_SECOND,
        })
    }
}

/// When the machine was started, by `/proc/stat`, in seconds since 1970.
fn booted(stat: &str) -> Option<f64> {
    number(stat, "btime")
}

/// The first number on the line that begins with `name`.
fn number(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn kibibytes(text: &str, name: &str) -> Option<f64> {
    number(text, name).map(|kibibytes| kibibytes * 1024.0)
}

fn open_files() -> Option<f64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them is the folder's own.
    Some(open.saturating_sub(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_whatever_the_program_is_called() {
        let stat = "17 (a ) b) (c) S 1 17 17 0 -1 4194304 90 0 0 0 250 150 0 0 20 0 5 0 12300 1 2";
        let times = Times {
            cpu: 4.0,
            started: 123.0,
        };
        assert_eq!(Times::of(stat), Some(times));
        for odd in ["", "17 (a", ")", "17 (a) S 1", "17 (a) S x"] {
            assert_eq!(Times::of(odd), None, "{odd}");
        }
    }

    #[test]
    fn numbers_are_found_by_their_lines() {
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files    1024     524288   files\n";
        assert_eq!(number(limits, "Max open files"), Some(1024.0));
        let unlimited = "Max open files    unlimited    unlimited   files\n";
        assert_eq!(number(unlimited, "Max open files"), None);
        assert_eq!(kibibytes("VmRSS:\t  2 kB\n", "VmRSS:"), Some(2048.0));
        assert_eq!(booted("cpu 1 2\nbtime 1700000000\n"), Some(1.7e9));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_memory_files_and_a_past() {
        let process = ProcessCollector::new().expect("literal names");
        assert_eq!(process.collect().len(), process.desc().len());
        assert!(process.resident.get() > 1e6, "{:?}", process.resident);
        assert!(process.open_files.get() >= 3.0);
        assert!(process.most_files.get() >= process.open_files.get());
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
        let age = now.as_secs_f64() - process.started.get();
        assert!((-2.0..86_400.0).contains(&age), "{age}");
    }
}
