//! What pgweave asks its shards, read from its own EXPLAIN, so that it is measured as it is.

use ::tests::endpoint::Endpoint;
use ::tests::load::succeed;
use ::tests::process::Failure;

/// Variables are explained as numbers from here on, which nothing else in a statement is.
const FIRST: usize = 987_654_301;

/// The statements that each shard gets for one with pgbench's variables, one after the other.
pub fn asked_of_shards(router: &Endpoint, sql: &str) -> Result<Vec<String>, Failure> {
    let (numbered, variables) = numbered(sql);
    let plan = succeed(&mut router.client()?, &format!("EXPLAIN {numbered}"))?;
    let plan: Vec<String> = plan.into_iter().flatten().collect();
    let asked = asked_of_one(&plan);
    if asked.is_empty() {
        return Err(Failure(format!("no shard is asked anything: {plan:?}")));
    }
    Ok(asked.iter().map(|sql| named(sql, &variables)).collect())
}

/// What the shard gets that the plan names first. The others get the same.
fn asked_of_one(plan: &[String]) -> Vec<&str> {
    let asked = plan
        .iter()
        .filter_map(|line| line.split_once("─ Shard ")?.1.split_once(": "));
    let mut first = None;
    asked
        .filter(|(shard, _)| first.get_or_insert(*shard) == shard)
        .map(|(_, sql)| sql)
        .collect()
}

/// `:name` as a number, one for each name.
fn numbered(sql: &str) -> (String, Vec<&str>) {
    let mut variables = Vec::new();
    let mut pieces = sql.split(':');
    let mut numbered = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece
            .find(|letter: char| !letter.is_ascii_alphanumeric())
            .unwrap_or(piece.len());
        let (name, rest) = piece.split_at(end);
        let known = variables.iter().position(|known| *known == name);
        let index = known.unwrap_or_else(|| {
            variables.push(name);
            variables.len() - 1
        });
        numbered.push_str(&format!("{}{rest}", FIRST + index));
    }
    (numbered, variables)
}

/// The way back.
fn named(sql: &str, variables: &[&str]) -> String {
    let mut named = sql.to_owned();
    for (index, name) in variables.iter().enumerate() {
        named = named.replace(&(FIRST + index).to_string(), &format!(":{name}"));
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(plan: &str) -> Vec<String> {
        let plan: Vec<String> = plan.lines().map(str::to_owned).collect();
        asked_of_one(&plan).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn statements_of_shards_are_read_from_plans() {
        let scatter = "Limit 3\n└─ Merge by column 1\n   └─ Scatter: 2 shards\n      \
             ├─ Shard s1: SELECT k FROM t LIMIT 3\n      └─ Shard s2: SELECT k FROM t LIMIT 3";
        assert_eq!(asked(scatter), ["SELECT k FROM t LIMIT 3"]);
        let gather = "Gather on s2: SELECT 1\n\
             ├─ Bring public.o as pgweave_1 (k) where (k > 5)\n│  ├─ Shard s1: SELECT k FROM o\n│  └─ Shard s2: SELECT k FROM o\n\
             └─ Bring public.l as pgweave_2 (k)\n   ├─ Shard s1: SELECT k FROM l\n   └─ Shard s2: SELECT k FROM l";
        assert_eq!(asked(gather), ["SELECT k FROM o", "SELECT k FROM l"]);
        assert!(asked("Single: shard s1\nSeq Scan on t").is_empty());
    }

    #[test]
    fn variables_become_numbers_and_names_again() {
        let sql = "SELECT :lo, :hi, :lo";
        let (numbers, variables) = numbered(sql);
        assert_eq!(numbers, "SELECT 987654301, 987654302, 987654301");
        assert_eq!(named(&numbers, &variables), sql);
    }
}
