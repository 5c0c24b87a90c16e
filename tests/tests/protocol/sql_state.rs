//! What SQL keeps in a session: prepared statements, cursors, transactions through the extended protocol, channels.

use tests::conversation::text;

use crate::{same, same_with};

#[test]
fn prepare_execute_deallocate() {
    same(|c| {
        c.ask("PREPARE one AS SELECT 1");
        c.ask("EXECUTE one");
        c.ask("PREPARE one AS SELECT 2");
        c.ask("PREPARE two (int, text) AS SELECT $1 + 1, $2");
        c.ask("EXECUTE two (41, 'x')");
        c.ask("EXECUTE two (41)");
        c.ask("EXECUTE two ('a', 'x')");
        c.ask("EXECUTE nosuch");
        c.ask("DEALLOCATE one");
        c.ask("EXECUTE one");
        c.ask("DEALLOCATE one");
        c.ask("DEALLOCATE PREPARE ALL");
        c.ask("EXECUTE two (1, 'x')");
        c.ask("PREPARE bad AS SELECT nosuch");
        c.ask("EXECUTE bad");
        c.ask("BEGIN; PREPARE within AS SELECT 3; ROLLBACK");
        c.ask("EXECUTE within");
        c.ask("PREPARE a AS SELECT $1::int; EXECUTE a(5); DEALLOCATE a; SELECT 1");
        c.ask("DISCARD ALL");
        c.ask("EXECUTE within");
    });
}

#[test]
fn both_protocols_share_the_names() {
    same(|c| {
        c.ask("PREPARE one (int) AS SELECT $1");
        c.bind("", "one", &[text("7")])
            .describe_portal("")
            .execute("", 0)
            .sync()
            .ready();
        c.describe_statement("one").sync().ready();
        c.parse("one", "SELECT 2", &[]).sync().ready();
        c.close_statement("one").sync().ready();
        c.ask("EXECUTE one (1)");
        c.parse("two", "SELECT $1::int", &[]).sync().ready();
        c.ask("EXECUTE two (8)");
        c.ask("PREPARE two AS SELECT 1");
        c.ask("DEALLOCATE two");
        c.bind("", "two", &[text("7")]).sync().ready();
        c.run("PREPARE three AS SELECT 3", &[]).sync().ready();
        c.run("EXECUTE three", &[]).sync().ready();
        c.run("DEALLOCATE three", &[]).sync().ready();
        c.run("EXECUTE three", &[]).sync().ready();
    });
}

#[test]
fn cursors() {
    let setup = "DROP TABLE IF EXISTS cursors; CREATE TABLE cursors (id int); INSERT INTO cursors SELECT generate_series(1, 9)";
    same_with(setup, |c| {
        c.ask("DECLARE c CURSOR FOR SELECT 1");
        c.ask("FETCH c");
        c.ask("BEGIN");
        c.ask("DECLARE c CURSOR FOR SELECT id FROM cursors ORDER BY id");
        c.ask("FETCH c");
        c.ask("FETCH 2 FROM c");
        c.ask("MOVE 1 FROM c");
        c.ask("FETCH ALL FROM c");
        c.ask("FETCH c");
        c.ask("CLOSE c");
        c.ask("FETCH c");
        c.ask("ROLLBACK");
        c.ask("BEGIN; DECLARE s SCROLL CURSOR FOR SELECT id FROM cursors ORDER BY id; FETCH LAST s; FETCH PRIOR s; FETCH ABSOLUTE 2 s; COMMIT");
        c.ask("FETCH s");
        c.ask("CLOSE s");
        c.ask("CLOSE ALL");
        c.note("WITH HOLD");
        c.ask("BEGIN; DECLARE h CURSOR WITH HOLD FOR SELECT id FROM cursors ORDER BY id; FETCH 2 h; COMMIT");
        c.ask("FETCH 2 h");
        c.ask("DECLARE h CURSOR WITH HOLD FOR SELECT 1");
        c.ask("SELECT 1");
        c.run("FETCH 3 FROM h", &[]).sync().ready();
        c.ask("CLOSE h");
        c.ask("FETCH h");
        c.ask("DECLARE h CURSOR WITH HOLD FOR SELECT id FROM cursors ORDER BY id");
        c.ask("FETCH 1 h");
        c.ask("CLOSE ALL");
        c.ask("FETCH h");
        c.note("by the extended protocol");
        c.ask("BEGIN");
        c.run(
            "DECLARE e CURSOR FOR SELECT id FROM cursors WHERE id > $1 ORDER BY id",
            &[text("5")],
        )
        .sync()
        .ready();
        c.run("FETCH 2 FROM e", &[]).sync().ready();
        c.execute("e", 1).sync().ready();
        c.run("CLOSE e", &[]).sync().ready();
        c.ask("COMMIT");
    });
}

#[test]
fn transactions_by_the_extended_protocol() {
    let setup =
        "DROP TABLE IF EXISTS extended_blocks; CREATE TABLE extended_blocks (id int PRIMARY KEY)";
    same_with(setup, |c| {
        c.run("BEGIN", &[]).sync().ready();
        c.run("INSERT INTO extended_blocks VALUES (1)", &[])
            .sync()
            .ready();
        c.run("COMMIT", &[]).sync().ready();
        c.note("in one batch");
        c.run("BEGIN", &[])
            .run("INSERT INTO extended_blocks VALUES (2)", &[])
            .run("COMMIT", &[])
            .sync()
            .ready();
        c.run("BEGIN", &[])
            .run("INSERT INTO extended_blocks VALUES (3)", &[])
            .run("ROLLBACK", &[])
            .sync()
            .ready();
        c.note("an error in the batch");
        c.run("BEGIN", &[])
            .run("INSERT INTO extended_blocks VALUES (1)", &[])
            .run("COMMIT", &[])
            .sync()
            .ready();
        c.run("SELECT 1", &[]).sync().ready();
        c.run("ROLLBACK", &[]).sync().ready();
        c.note("statements kept for ever");
        c.parse("begin", "BEGIN", &[])
            .parse("insert", "INSERT INTO extended_blocks VALUES ($1)", &[])
            .parse("commit", "COMMIT", &[])
            .parse("rollback", "ROLLBACK", &[])
            .sync()
            .ready();
        for id in ["4", "5"] {
            c.bind("", "begin", &[]).execute("", 0).sync().ready();
            c.bind("", "insert", &[text(id)])
                .execute("", 0)
                .sync()
                .ready();
            c.bind("", "commit", &[]).execute("", 0).sync().ready();
        }
        c.bind("", "begin", &[])
            .execute("", 0)
            .bind("", "insert", &[text("6")])
            .execute("", 0)
            .bind("", "rollback", &[])
            .execute("", 0)
            .sync()
            .ready();
        c.note("savepoints");
        c.run("BEGIN", &[]).sync().ready();
        c.run("SAVEPOINT a", &[])
            .run("INSERT INTO extended_blocks VALUES (1)", &[])
            .sync()
            .ready();
        c.run("ROLLBACK TO a", &[]).sync().ready();
        c.run("INSERT INTO extended_blocks VALUES (7)", &[])
            .run("RELEASE a", &[])
            .run("COMMIT", &[])
            .sync()
            .ready();
        c.note("COMMIT without BEGIN, in the middle");
        c.run("INSERT INTO extended_blocks VALUES (8)", &[])
            .run("COMMIT", &[])
            .run("INSERT INTO extended_blocks VALUES (8)", &[])
            .sync()
            .ready();
        c.run("BEGIN", &[])
            .run("BEGIN", &[])
            .run("COMMIT", &[])
            .sync()
            .ready();
        c.ask("SELECT id FROM extended_blocks ORDER BY id");
    });
}

#[test]
fn notifications() {
    same(|c| {
        let mut sender = c.other();
        c.ask("LISTEN suite");
        c.ask("NOTIFY suite");
        c.ask("NOTIFY suite, 'from myself'");
        c.ask("SELECT 1");
        c.note("from another session, while idle");
        sender.ask("NOTIFY suite, 'from another'");
        c.until(b'A');
        c.note("at COMMIT only, doubles once");
        sender.ask("BEGIN; NOTIFY suite, 'a'; NOTIFY suite, 'b'; NOTIFY suite, 'a'");
        sender.ask("COMMIT");
        c.until(b'A').until(b'A');
        sender.ask("SELECT pg_notify('suite', 'called')");
        c.until(b'A');
        c.note("not within a transaction, but after it");
        c.ask("BEGIN; SELECT 1");
        sender.ask("NOTIFY suite, 'held back'");
        c.ask("COMMIT");
        c.note("a LISTEN that is rolled back");
        c.ask("BEGIN; LISTEN other; ROLLBACK");
        sender.ask("NOTIFY other, 'unheard'");
        c.ask("UNLISTEN suite");
        sender.ask("NOTIFY suite, 'unheard'");
        c.ask("SELECT 2");
        c.run("LISTEN third", &[]).sync().ready();
        c.run("NOTIFY third, 'extended'", &[]).sync().ready();
        c.ask("UNLISTEN *");
        c.ask("NOTIFY third, 'unheard'");
        c.ask("SELECT 3");
    });
}
