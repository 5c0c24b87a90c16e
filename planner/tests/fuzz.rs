//! Mutated statements end in a plan or an error, never in a panic. `FUZZ_SEED` and `FUZZ_RUNS` replay or extend a run.

#![allow(clippy::unwrap_used)]

mod support;

use catalog::ShardId;
use planner::{Context, Literals, Plan, PlanCache, Route, plan_text, resolve};

/// SplitMix64: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

fn seeds() -> Vec<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut seeds = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        seeds.extend(
            text.lines()
                .filter_map(|line| line.strip_prefix("> ").map(str::to_owned)),
        );
    }
    seeds
}

const FRAGMENTS: [&str; 40] = [
    "(",
    ")",
    ",",
    ";",
    "'",
    "''",
    "\"",
    "$1",
    "$65535",
    "$99999999999",
    "--",
    "/*",
    "*/",
    "$$",
    "E'\\'",
    "U&'\\0041'",
    "::int",
    "::bigint[]",
    " AND ",
    " OR ",
    " UNION ",
    " WITH x AS (SELECT 1) ",
    " LATERAL ",
    " JOIN ",
    " FULL JOIN orders ON true ",
    " USING (customer_id) ",
    " NATURAL JOIN lines ",
    " RECURSIVE ",
    " FOR UPDATE ",
    " RETURNING * ",
    " ON CONFLICT DO NOTHING ",
    " LIMIT 1 ",
    "é",
    "\u{1F600}",
    "-",
    "1e9999",
    " = ANY ('{1,2}') ",
    " IN (1,2) ",
    "pgweave.",
    "*",
];

fn mutated(seeds: &[String], random: &mut Random) -> String {
    let mut text: Vec<char> = seeds[random.below(seeds.len())].chars().collect();
    for _ in 0..=random.below(2) {
        let at = random.below(text.len() + 1);
        match random.below(7) {
            0 if at < text.len() => {
                text.remove(at);
            }
            1 => {
                let fragment = FRAGMENTS[random.below(FRAGMENTS.len())];
                text.splice(at..at, fragment.chars());
            }
            2 if at < text.len() => {
                let other = random.below(text.len());
                text.swap(at, other);
            }
            3 => {
                let end = (at + random.below(20)).min(text.len());
                text.drain(at..end);
            }
            4 => {
                let other: Vec<char> = seeds[random.below(seeds.len())].chars().collect();
                let start = random.below(other.len() + 1);
                let end = (start + random.below(40)).min(other.len());
                text.splice(at..at, other[start..end].iter().copied());
            }
            5 => {
                let end = (at + random.below(30)).min(text.len());
                let copy: Vec<char> = text[at..end].to_vec();
                text.splice(at..at, copy);
            }
            _ => {
                let character = char::from_u32(random.below(0x250) as u32).unwrap_or('x');
                text.insert(at, character);
            }
        }
    }
    text.into_iter().collect()
}

#[test]
fn mutated_statements_end_in_a_plan_or_an_error() {
    let number = |name: &str, default: u64| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (seed, runs) = (number("FUZZ_SEED", 1), number("FUZZ_RUNS", 20_000));
    let catalog = support::catalog();
    let temporary = [("scratch".to_owned(), ShardId(3))];
    let contexts = [
        support::context(&catalog),
        Context {
            temporary: &temporary,
            manual: Some(ShardId(2)),
            ..support::context(&catalog)
        },
    ];
    let seeds = seeds();
    assert!(seeds.len() > 300);
    let cache = PlanCache::new(1000);
    let mut literals = Literals::new();
    let mut random = Random(seed);
    let mut planned_count = 0u64;
    for run in 0..runs {
        let sql = mutated(&seeds, &mut random);
        let context = &contexts[random.below(8) / 7];
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let plain = plan_text(&sql, context);
            let cached = cache.plan_simple(&sql, context, &mut literals);
            let _ = cache.plan_statement(&sql, context);
            // A doubtful literal is refused when it is resolved.
            assert!(plain.is_err() || cached.is_ok());
            let Ok(plans) = cached else { return false };
            for planned in plans.iter() {
                let _ = planned.plan.to_string();
                let _ = planned.text(&sql);
                if let Plan::Single(single) = &*planned.plan
                    && matches!(single.route, Route::Key(_))
                {
                    let _ = resolve(&single.route, &catalog, &literals.values(&sql));
                }
            }
            true
        }));
        match outcome {
            Ok(planned) => planned_count += u64::from(planned),
            Err(_) => panic!("run {run} of FUZZ_SEED={seed}: {sql:?}"),
        }
    }
    assert!(
        planned_count > runs / 20,
        "only {planned_count} of {runs} were planned"
    );
}
