//! `tests/bench/RESULTS.md`, of which each benchmark writes its own part.
//!
//! A part begins with a heading of the first or second level and goes on to the next such heading. Within a part, headings are of the
//! third level.

use std::path::{Path, PathBuf};

use crate::process::Failure;

/// Where scripts and results are.
pub fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("bench")
}

/// The file that is kept.
pub fn kept() -> PathBuf {
    directory().join("RESULTS.md")
}

/// Puts `part`, which begins with its heading, in place of the part with that heading, or at the end.
pub fn write(path: &Path, part: &str) -> Result<(), Failure> {
    let before = match std::fs::read_to_string(path) {
        Ok(before) => before,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Failure(format!("cannot read {}: {error}", path.display()))),
    };
    std::fs::write(path, with(&before, part))
        .map_err(|error| Failure(format!("cannot write {}: {error}", path.display())))?;
    println!("\nwrote {}", path.display());
    Ok(())
}

fn with(file: &str, part: &str) -> String {
    let heading = part.lines().next();
    let mut parts = parts(file);
    match parts.iter_mut().find(|old| old.lines().next() == heading) {
        Some(old) => *old = part,
        None => parts.push(part),
    }
    let parts: Vec<&str> = parts.iter().map(|part| part.trim_end()).collect();
    format!("{}\n", parts.join("\n\n"))
}

fn parts(file: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut at = 0;
    for line in file.split_inclusive('\n') {
        if at > start && (line.starts_with("# ") || line.starts_with("## ")) {
            parts.push(&file[start..at]);
            start = at;
        }
        at += line.len();
    }
    if at > start {
        parts.push(&file[start..]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_benchmark_replaces_its_own_part() {
        let one = "# One\n\ntext\n";
        let two = "## Two\n\ntext\n\n### Of two\n\ntext\n";
        assert_eq!(with("", one), one);
        let both = with(one, two);
        assert_eq!(both, format!("{one}\n{two}"));
        assert_eq!(
            with(&both, "# One\n\nnew\n"),
            format!("# One\n\nnew\n\n{two}")
        );
        assert_eq!(
            with(&both, "## Two\n\nnew\n"),
            format!("{one}\n## Two\n\nnew\n")
        );
    }
}
