//! What a person sees while the demo starts: a line per step, a bar where something is counted.
//!
//! Without a terminal there are plain lines, so that a log of it can be read.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Writes to standard error.
#[derive(Clone)]
pub struct Progress {
    bar: ProgressBar,
    terminal: bool,
}

impl Progress {
    pub fn new() -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        if terminal {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        Progress { bar, terminal }
    }

    /// A step without a count begins.
    pub fn begin(&self, what: &str) {
        if !self.terminal {
            say(&format!("{what} …"));
            return;
        }
        self.bar.reset();
        self.bar.unset_length();
        self.bar.set_style(style("{spinner} {msg}"));
        self.bar.set_message(format!("{what} …"));
        self.bar.enable_steady_tick(Duration::from_millis(120));
    }

    /// A step of `length` parts begins.
    pub fn begin_counted(&self, what: &str, length: u64) {
        if !self.terminal {
            say(&format!("{what} …"));
            return;
        }
        self.bar.disable_steady_tick();
        self.bar.reset();
        self.bar.set_length(length);
        self.bar.set_style(style("{msg} {wide_bar} {pos}/{len}"));
        self.bar.set_message(what.to_owned());
    }

    /// One of the counted parts is done.
    pub fn advance(&self) {
        self.bar.inc(1);
    }

    /// Something is done.
    pub fn line(&self, text: &str) {
        if self.terminal {
            self.bar.println(text);
        } else {
            say(text);
        }
    }

    /// Nothing more is to come for now.
    pub fn end(&self) {
        self.bar.disable_steady_tick();
        self.bar.finish_and_clear();
    }
}

/// To standard error. That nobody reads it any more is no reason to end.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn style(template: &str) -> ProgressStyle {
    // The templates are fixed and right; a test would show otherwise.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_right() {
        for template in ["{spinner} {msg}", "{msg} {wide_bar} {pos}/{len}"] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
