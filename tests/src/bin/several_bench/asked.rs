//! What pgweave asks its shards, read from its own EXPLAIN, so that it is measured as it is.

use ::tests::client::rows;
use ::tests::endpoint::Endpoint;
use ::tests::process::Failure;

/// The statements that each shard gets for one with pgbench's variables, one after the other.
pub fn asked_of_shards(router: &Endpoint, sql: &str) -> Result<Vec<String>, Failure> {
    let (numbered, variables) = numbered(sql);
    let answer = router.client()?.query(&format!("EXPLAIN {numbered}"))?;
    let plan: Vec<String> = rows(&answer)
        .into_iter()
        .filter_map(|row| row.into_iter().next().flatten())
        .collect();
    let asked = asked(&plan, &numbered)
        .ok_or_else(|| Failure(format!("no statement of shards in {plan:?} ({answer:?})")))?;
    asked
        .iter()
        .map(|sql| named(sql, &variables))
        .collect::<Option<_>>()
        .ok_or_else(|| Failure(format!("shards get parameters of pgweave's own: {asked:?}")))
}

fn asked(plan: &[String], sql: &str) -> Option<Vec<String>> {
    let scatter = plan
        .iter()
        .find_map(|line| line.split_once("Scatter to ")?.1.split_once(": "));
    match scatter {
        Some((_, "the statement as it is")) => return Some(vec![sql.to_owned()]),
        Some((_, asked)) => return Some(vec![asked.to_owned()]),
        None => {}
    }
    let tables: Vec<String> = plan
        .iter()
        .filter_map(|line| line.split_once("Rows of: "))
        .map(|(_, table)| rows_of(table))
        .collect::<Option<_>>()?;
    (!tables.is_empty()).then_some(tables)
}

/// `orders of group 1 (id, total) where (total > 5)`
fn rows_of(table: &str) -> Option<String> {
    let (table, condition) = match table.split_once(" where ") {
        Some((table, condition)) => (table, format!(" WHERE {condition}")),
        None => (table, String::new()),
    };
    let (name, rest) = table.split_once(" of group ")?;
    let columns = match rest.split_once(" (") {
        Some((_, columns)) => columns.strip_suffix(')')?,
        None => "*",
    };
    Some(format!("SELECT {columns} FROM {name}{condition}"))
}

/// `:name` as `$n`, a number for each name.
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
        numbered.push_str(&format!("${}{rest}", index + 1));
    }
    (numbered, variables)
}

/// The way back. `None`: a number is nobody's.
fn named(sql: &str, variables: &[&str]) -> Option<String> {
    let mut pieces = sql.split('$');
    let mut named = pieces.next()?.to_owned();
    for piece in pieces {
        let end = piece
            .find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(piece.len());
        let (number, rest) = piece.split_at(end);
        let index: usize = number.parse().ok()?;
        let name = variables.get(index.checked_sub(1)?)?;
        named.push_str(&format!(":{name}{rest}"));
    }
    Some(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(plan: &str) -> Vec<String> {
        plan.lines().map(str::to_owned).collect()
    }

    #[test]
    fn statements_of_shards_are_read_from_plans() {
        let as_it_is = "Limit 10\n└─ Merge by column 1\n   └─ Scatter to all shards of group 1: the statement as it is";
        assert_eq!(
            asked(&lines(as_it_is), "SELECT 1"),
            Some(vec!["SELECT 1".to_owned()])
        );
        let own =
            "Merge by column 1\n└─ Scatter to all shards of group 1: SELECT a FROM t ORDER BY 1";
        assert_eq!(
            asked(&lines(own), "SELECT 1"),
            Some(vec!["SELECT a FROM t ORDER BY 1".to_owned()])
        );
        let gather = "Gather: SELECT, read\n├─ Finished on: 1 or 2\n\
             ├─ Rows of: o of group 1 (id, total) where (o.total > $1)\n└─ Rows of: l of group 1";
        assert_eq!(
            asked(&lines(gather), "SELECT 1"),
            Some(vec![
                "SELECT id, total FROM o WHERE (o.total > $1)".to_owned(),
                "SELECT * FROM l".to_owned()
            ])
        );
        assert_eq!(asked(&lines("Single: shard s1"), "SELECT 1"), None);
    }

    #[test]
    fn variables_become_numbers_and_names_again() {
        let sql = "SELECT :lo, :hi, :lo";
        let (numbers, variables) = numbered(sql);
        assert_eq!(numbers, "SELECT $1, $2, $1");
        assert_eq!(named(&numbers, &variables).as_deref(), Some(sql));
        assert_eq!(named("SELECT $3", &variables), None);
    }
}
