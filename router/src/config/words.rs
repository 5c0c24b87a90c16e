//! Texts for operators: what is hidden, what is suggested, and the library's terms in plain words.

/// Hides what follows the name of a secret, character by character, so that places stay true.
pub(super) fn blotted(line: &str, hide_value: bool) -> String {
    let lower = line.to_ascii_lowercase();
    let secret = ["password", "secret"]
        .iter()
        .flat_map(|name| lower.match_indices(name))
        .find_map(|(at, name)| {
            let rest = &lower[at + name.len()..];
            let gap = rest.len() - rest.trim_start_matches([' ', '\t', '"', '\'']).len();
            rest[gap..]
                .starts_with('=')
                .then_some(at + name.len() + gap + 1)
        });
    let unknown = || {
        hide_value
            .then(|| line.find('=').map(|at| at + 1))
            .flatten()
    };
    match secret.or_else(unknown) {
        Some(start) => {
            let hidden = line[start..]
                .chars()
                .map(|character| if character == ' ' { ' ' } else { '*' });
            line[..start].chars().chain(hidden).collect()
        }
        None => line.to_owned(),
    }
}

/// Names the nearest known word if it is near, then all of them.
pub(super) fn suggest(unknown: &str, known: &[&str], all: String) -> String {
    let nearest = known
        .iter()
        .map(|word| (distance(unknown, word), *word))
        .min();
    match nearest {
        Some((edits, word)) if edits <= 1 + word.len() / 4 => {
            let separator = if all.is_empty() { "" } else { "; " };
            format!("did you mean `{word}`?{separator}{all}")
        }
        _ => all,
    }
}

/// Edits that turn one word into the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Replaces the names of Rust's types by what an operator can write.
pub(super) fn in_plain_words(message: &str) -> String {
    const WORDS: &[(&str, &str)] = &[
        ("expected u16", "expected a whole number from 0 to 65535"),
        (
            "expected u32",
            "expected a whole number from 0 to 4294967295",
        ),
        ("expected u64", "expected a whole number, not negative"),
        ("expected usize", "expected a whole number, not negative"),
        ("expected a boolean", "expected true or false"),
        ("expected a string", "expected text in quotes"),
    ];
    match WORDS.iter().find(|(end, _)| message.ends_with(end)) {
        Some((end, words)) => format!("{}{words}", &message[..message.len() - end.len()]),
        None => message.to_owned(),
    }
}
