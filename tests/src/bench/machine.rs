//! Facts about this machine that the numbers depend on.

use std::process::Command;

/// Lines of `name: value`.
pub fn facts() -> Vec<(String, String)> {
    let mut facts = vec![
        ("Processor".to_owned(), processor()),
        ("Memory".to_owned(), memory()),
        ("System".to_owned(), system()),
    ];
    facts.retain(|(_, value)| !value.is_empty());
    facts
}

/// What else this machine is doing.
pub fn load() -> Option<String> {
    let load = std::fs::read_to_string("/proc/loadavg").ok()?;
    let minutes = load.split(' ').nth(2)?;
    Some(format!("{minutes} over 15 minutes"))
}

/// The first line that a program prints of its version.
pub fn version(program: &std::path::Path) -> String {
    let output = Command::new(program).arg("--version").output();
    output
        .ok()
        .and_then(|output| {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.lines().next().map(str::to_owned)
        })
        .unwrap_or_default()
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned())
        .unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} × {model}")
}

fn memory() -> String {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.map_or_else(String::new, |kilobytes| {
        format!("{:.0} GiB", kilobytes as f64 / 1_048_576.0)
    })
}

fn system() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {}", kernel.trim())
}
