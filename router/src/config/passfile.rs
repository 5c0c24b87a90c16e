//! Password files in libpq's form: `host:port:database:user:password`, one per line, `*` for any.

use std::path::Path;

use super::Secret;

/// The lines of a password file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passfile {
    lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    fields: [String; 4],
    password: Secret,
}

impl Passfile {
    pub(super) fn read(path: &Path) -> std::io::Result<Passfile> {
        Ok(Passfile::parse(&std::fs::read_to_string(path)?))
    }

    /// The password of the first line that fits.
    pub fn password(&self, host: &str, port: u16, database: &str, user: &str) -> Option<&Secret> {
        let wanted = [host, &port.to_string(), database, user].map(str::to_owned);
        self.lines
            .iter()
            .find(|line| {
                line.fields
                    .iter()
                    .zip(&wanted)
                    .all(|(field, wanted)| field == "*" || field == wanted)
            })
            .map(|line| &line.password)
    }

    /// Comments and lines with too few fields are passed over, as libpq does.
    fn parse(text: &str) -> Passfile {
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let mut fields = split(line).into_iter();
                let names = [
                    fields.next()?,
                    fields.next()?,
                    fields.next()?,
                    fields.next()?,
                ];
                Some(Line {
                    fields: names,
                    password: Secret::new(fields.next()?),
                })
            });
        Passfile {
            lines: lines.collect(),
        }
    }
}

/// Splits at colons; a backslash takes the next character as it is.
fn split(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ':' if fields.len() < 5 => fields.push(String::new()),
            '\\' => {
                if let (Some(last), Some(next)) = (fields.last_mut(), characters.next()) {
                    last.push(next);
                }
            }
            other => {
                if let Some(last) = fields.last_mut() {
                    last.push(other);
                }
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fitting_line_counts() {
        let file =
            Passfile::parse("# all\n10.0.0.1:5432:*:app:one\\:two\n\nshort:line\n*:*:*:*:rest\n");
        let password = |host, user| file.password(host, 5432, "db", user).map(Secret::expose);
        assert_eq!(password("10.0.0.1", "app"), Some("one:two"));
        assert_eq!(password("10.0.0.2", "app"), Some("rest"));
        assert_eq!(
            Passfile::parse("a:1:b:c:d").password("a", 2, "b", "c"),
            None
        );
    }
}
