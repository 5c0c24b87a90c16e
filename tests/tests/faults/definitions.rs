//! Changes of definitions on all shards, and of the catalog with them, while a router dies.

use std::time::Instant;

use router::drive::failpoint;
use tests::client::{Client, ask, one};
use tests::fleet::{Fleet, FleetOptions, eventually};

#[test]
fn a_router_that_dies_leaves_one_definition() {
    let mut fleet = Fleet::start(&FleetOptions {
        shards: 2,
        ..FleetOptions::default()
    });
    let mut client = fleet.routers[1].client();
    ask(&mut client, "CREATE TABLE item (id int PRIMARY KEY)");
    ask(&mut client, "SELECT pgweave.shard_table('item', 'id')");
    ask(
        &mut client,
        "INSERT INTO item SELECT generate_series(1, 20)",
    );
    for point in failpoint::names() {
        if point.contains("rollback") {
            continue;
        }
        let began = Instant::now();
        let mut victim = fleet.routers[0].client();
        fleet.routers[0].arm(&point, "kill");
        // It may pass no such point.
        let answered = victim.query(&format!(
            "ALTER TABLE item ADD COLUMN {point} int DEFAULT 7"
        ));
        assert_eq!(
            answered.is_err(),
            fleet.routers[0].was_hit(),
            "{answered:?}"
        );
        fleet.routers[0].disarm();
        eventually("recovery", || fleet.prepared().is_empty());
        let sql = format!(
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 'item'::regclass AND attname = '{point}'"
        );
        let there: Vec<String> = (0..2)
            .map(|shard| one(&mut fleet.server(shard), &sql))
            .collect();
        assert_eq!(there[0], there[1], "at {point}");
        eprintln!("{point}: {} after {:?}", there[0], began.elapsed());
        // Routers see the table as it is.
        fleet.routers[0].kill();
        fleet.routers[0].start();
        for router in &fleet.routers {
            let mut client = router.client();
            reads(&mut client, &point, there[0] == "1");
        }
    }
    fleet.nothing_is_left();
}

fn reads(client: &mut Client, column: &str, is_there: bool) {
    let sql = format!("SELECT count(*), sum({column}) FROM item");
    eventually("a router to know the table", || {
        let answer = client.query(&sql).unwrap();
        let rows = tests::client::rows(&answer);
        let expected = [[Some("20".to_owned()), Some("140".to_owned())]];
        (rows == expected) == is_there
    });
}
