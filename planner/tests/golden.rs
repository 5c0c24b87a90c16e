//! Plans of many statements, compared with the files in `tests/golden`. `UPDATE_GOLDEN=1 cargo test -p planner --test golden` rewrites them.
//!
//! A file is a list of cases: `> statement` (further lines belong to it), `---`, the plan or the error, an empty line. Lines that
//! start with `#` are comments; `@name value` sets the session for the cases below it.

#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write as _;
use std::path::Path;

use catalog::{Catalog, ShardId};
use planner::{
    Context, Error, Plan, Planned, Route, Single, Target, plan_several, plan_text, resolve,
    resolve_all,
};

#[derive(Default)]
struct Session {
    search_path: Option<Vec<String>>,
    temporary: Vec<(String, ShardId)>,
    manual: Option<ShardId>,
    nonstandard_strings: bool,
}

impl Session {
    fn set(&mut self, catalog: &Catalog, directive: &str) {
        let (name, value) = directive.split_once(' ').unwrap_or((directive, ""));
        let shard = |name: &str| {
            catalog
                .shard_by_name(name)
                .unwrap_or_else(|| panic!("shard {name}"))
                .id
        };
        match name {
            "reset" => *self = Session::default(),
            "search_path" => {
                self.search_path = Some(value.split(", ").map(str::to_owned).collect())
            }
            "temporary" => {
                let (table, on) = value.split_once(' ').expect("table and shard");
                self.temporary.push((table.to_owned(), shard(on)));
            }
            "manual" => self.manual = Some(shard(value)),
            "nonstandard_strings" => self.nonstandard_strings = true,
            _ => panic!("unknown directive {directive}"),
        }
    }

    fn context<'a>(&'a self, catalog: &'a Catalog) -> Context<'a> {
        let standard = support::context(catalog);
        Context {
            search_path: self.search_path.as_deref().unwrap_or(standard.search_path),
            temporary: &self.temporary,
            manual: self.manual,
            standard_conforming_strings: !self.nonstandard_strings,
            ..standard
        }
    }
}

fn outcome(sql: &str, catalog: &Catalog, context: &Context<'_>) -> String {
    let mut out = String::new();
    match plan_text(sql, context) {
        Ok(planned) if planned.is_empty() => out.push_str("nothing"),
        Ok(planned) => {
            for (index, planned) in planned.iter().enumerate() {
                if index > 0 {
                    out.push('\n');
                }
                show(&mut out, sql, planned, catalog, context);
                if let Some(rest) = planned.rest {
                    write!(out, "\nthen plans [{}]", sql[rest..].trim()).unwrap();
                }
            }
        }
        Err(error) => show_error(&mut out, &error),
    }
    out
}

fn show(out: &mut String, sql: &str, planned: &Planned, catalog: &Catalog, context: &Context<'_>) {
    if planned.part.is_some() {
        writeln!(out, "[{}]", planned.text(sql).trim()).unwrap();
    }
    write!(out, "{}", planned.plan).unwrap();
    if let Plan::Single(single) = &*planned.plan
        && let Route::Key(_) = single.route
        && single.parameters == 0
    {
        match resolve(&single.route, catalog, &()) {
            Ok(Target::Shard(shard)) => {
                write!(out, "\n=> {}", catalog.shard(shard).unwrap().name).unwrap()
            }
            Ok(target) => write!(out, "\n=> {target:?}").unwrap(),
            Err(error) => {
                out.push_str("\n=> ");
                match several(sql, planned, single, catalog, context) {
                    Some(Ok(plan)) => write!(out, "{}", plan.plan).unwrap(),
                    Some(Err(error)) => show_error(out, &error),
                    None => show_error(out, &error),
                }
            }
        }
    }
}

/// What is planned for the shards that the keys of a write lead to.
fn several(
    sql: &str,
    planned: &Planned,
    single: &Single,
    catalog: &Catalog,
    context: &Context<'_>,
) -> Option<Result<Planned, Error>> {
    let shards = resolve_all(&single.route, catalog, &()).ok()?;
    let start = planned.part.as_ref().map_or(0, |part| part.start);
    (single.tag.0 != "SELECT").then(|| plan_several(sql, start, Some(shards), context))
}

fn show_error(out: &mut String, error: &Error) {
    write!(out, "ERROR {}: {}", error.sqlstate(), error.message()).unwrap();
    if let Some(position) = error.position() {
        write!(out, " (at {position})").unwrap();
    }
    if let Some(detail) = error.detail() {
        write!(out, "\nDETAIL: {detail}").unwrap();
    }
    if let Some(hint) = error.hint() {
        write!(out, "\nHINT: {hint}").unwrap();
    }
}

/// The file with every outcome as it is now.
fn rewritten(text: &str, catalog: &Catalog) -> String {
    let mut out = String::new();
    let mut session = Session::default();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(directive) = line.strip_prefix('@') {
            session.set(catalog, directive);
        }
        out.push_str(line);
        out.push('\n');
        let Some(first) = line.strip_prefix("> ") else {
            continue;
        };
        let mut sql = first.to_owned();
        while let Some(line) =
            lines.next_if(|line| *line != "---" && !line.is_empty() && !line.starts_with("> "))
        {
            out.push_str(line);
            out.push('\n');
            sql.push('\n');
            sql.push_str(line);
        }
        if lines.next_if_eq(&"---").is_some() {
            while lines.next_if(|line| !line.is_empty()).is_some() {}
        }
        writeln!(
            out,
            "---\n{}",
            outcome(&sql, catalog, &session.context(catalog))
        )
        .unwrap();
        if lines.peek().is_some_and(|line| !line.is_empty()) {
            out.push('\n');
        }
    }
    out
}

#[test]
fn golden() {
    let catalog = support::catalog();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let mut differing = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let now = rewritten(&text, &catalog);
        if now == text {
            continue;
        }
        if update {
            std::fs::write(&file, &now).unwrap();
            continue;
        }
        for (old, new) in text
            .lines()
            .zip(now.lines())
            .filter(|(old, new)| old != new)
            .take(3)
        {
            eprintln!("{}:\n  - {old}\n  + {new}", file.display());
        }
        differing.push(file);
    }
    assert!(
        differing.is_empty(),
        "UPDATE_GOLDEN=1 rewrites {differing:?}"
    );
}
