//! What several rounds of one measurement gave.

/// The least, the middle and the greatest of some numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Spread {
    /// `None` without numbers.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match (values.len() % 2, values.get(middle.wrapping_sub(1))) {
            (0, Some(below)) => (below + values.get(middle)?) / 2.0,
            _ => *values.get(middle)?,
        };
        Some(Spread {
            min: *values.first()?,
            median,
            max: *values.last()?,
        })
    }

    pub fn shown(self, digits: usize) -> String {
        let Spread { min, median, max } = self;
        format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
    }
}

/// A cell of a table; empty without numbers.
pub fn cell(values: impl IntoIterator<Item = f64>, digits: usize) -> String {
    Spread::of(values).map_or_else(String::new, |spread| spread.shown(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middle_ones() {
        assert_eq!(cell([3.0, 1.0, 2.0], 1), "2.0 (1.0–3.0)");
        assert_eq!(cell([4.0, 1.0, 2.0, 3.0], 1), "2.5 (1.0–4.0)");
        assert_eq!(cell([], 1), "");
    }
}
