//! What a process uses, from /proc.

use std::io;

/// Processor time of all its threads, finished ones included, in microseconds. The kernel counts in hundredths of a second.
pub fn cpu_us(pid: u32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = ticks(&stat).ok_or_else(|| io::Error::other("/proc/PID/stat has another form"))?;
    // SAFETY: sysconf has no preconditions.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64;
    Ok(ticks * 1_000_000 / per_second)
}

/// Resident memory in bytes.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    kilobytes(&rollup, "Rss:")
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| io::Error::other("/proc/PID/smaps_rollup has another form"))
}

/// `utime` and `stime`, the 14th and 15th field.
fn ticks(stat: &str) -> Option<u64> {
    // The name in parentheses may hold anything; the third field follows its end.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn kilobytes(rollup: &str, key: &str) -> Option<u64> {
    let line = rollup.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_from_the_end_of_the_name() {
        let stat = "77 (a) b) S 1 77 77 0 -1 4194560 100 0 0 0 12 30 5 6 20 0 1 0 100 1000 50";
        assert_eq!(ticks(stat), Some(42));
    }

    #[test]
    fn resident_memory_is_found() {
        let text = "55d0-7ffc ---p 00000000 00:00 0 [rollup]\nRss:    2048 kB\nPss:   1000 kB\n";
        assert_eq!(kilobytes(text, "Rss:"), Some(2048));
    }

    #[test]
    fn this_process_can_be_measured() {
        let pid = std::process::id();
        assert!(resident_bytes(pid).unwrap() > 100_000);
        cpu_us(pid).unwrap();
    }
}
