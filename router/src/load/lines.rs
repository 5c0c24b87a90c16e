//! Which line of the client's data a line of one server's data is.

use std::collections::VecDeque;

/// So many rows are remembered for each server. Errors come of rows that have been sent a little earlier.
const REMEMBERED_ROWS: usize = 1 << 18;

/// The lines that one server has been sent.
#[derive(Debug, Default)]
pub struct Lines {
    /// Lines that it has been sent.
    sent: u64,
    /// The last line of each row there, and in the client's data.
    ends: VecDeque<(u64, u64)>,
}

impl Lines {
    /// Notes a row of so many lines, the last of which is this one of the client's.
    pub fn note(&mut self, lines: u64, client: u64) {
        self.sent += lines;
        if self.ends.len() >= REMEMBERED_ROWS {
            self.ends.pop_front();
        }
        self.ends.push_back((self.sent, client));
    }

    /// The client's line; `None`: that long ago, nobody knows. `next`: the line that would come next.
    pub fn client_line(&self, line: u64, next: u64) -> Option<u64> {
        if line > self.sent {
            return Some(next);
        }
        let at = self.ends.partition_point(|(end, _)| *end < line);
        let (end, client) = self.ends.get(at)?;
        // Before the first row that is remembered there may have been others.
        (at > 0 || self.ends.len() < REMEMBERED_ROWS || *end == line)
            .then(|| client.saturating_sub(end - line))
    }
}

/// The text of CONTEXT with the client's lines in place of the server's. `table`: as the server names it.
pub fn with_client_lines(context: &str, table: &str, line: impl Fn(u64) -> Option<u64>) -> String {
    let mark = format!("COPY {table}, line ");
    let mut out = String::with_capacity(context.len() + 8);
    let mut rest = context;
    while let Some(at) = rest.find(&mark) {
        let after = &rest[at + mark.len()..];
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        out.push_str(&rest[..at]);
        match after[..digits].parse().ok().and_then(&line) {
            Some(line) => out.push_str(&format!("{mark}{line}")),
            None => out.push_str(&format!("COPY {table}")),
        }
        rest = &after[digits..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_again() {
        let mut lines = Lines::default();
        lines.note(1, 1);
        lines.note(1, 4);
        lines.note(3, 9);
        let found: Vec<Option<u64>> = (1..=6).map(|line| lines.client_line(line, 12)).collect();
        assert_eq!(
            found,
            [Some(1), Some(4), Some(7), Some(8), Some(9), Some(12)]
        );
        assert_eq!(
            with_client_lines("COPY t, line 2, column v: \"x\"\nmore", "t", |line| lines
                .client_line(line, 12)),
            "COPY t, line 4, column v: \"x\"\nmore"
        );
    }
}
