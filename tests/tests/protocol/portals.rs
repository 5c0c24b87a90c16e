//! Portals: row limits, lifetime, names.

use tests::conversation::text;

use crate::{same, same_with};

#[test]
fn row_limits_within_a_transaction() {
    same(|c| {
        c.ask("BEGIN");
        c.parse("", "SELECT generate_series(1, 5)", &[])
            .bind("p", "", &[]);
        c.execute("p", 2).execute("p", 2).sync().ready();
        c.execute("p", 2).execute("p", 2).sync().ready();
        c.execute("p", 0).sync().ready();
        c.ask("COMMIT");
        c.execute("p", 1).sync().ready();
    });
}

#[test]
fn row_limits_outside_a_transaction() {
    same(|c| {
        c.parse("", "SELECT generate_series(1, 5)", &[])
            .bind("", "", &[]);
        c.execute("", 2).execute("", 1).sync().ready();
        c.note("Sync has ended the portal");
        c.execute("", 2).sync().ready();
        c.note("a limit that is the number of rows");
        c.parse("", "SELECT generate_series(1, 3)", &[])
            .bind("", "", &[])
            .execute("", 3)
            .sync()
            .ready();
        c.parse("", "SELECT generate_series(1, 3)", &[])
            .bind("", "", &[])
            .execute("", 4)
            .sync()
            .ready();
        c.parse("", "SELECT generate_series(1, 3)", &[])
            .bind("", "", &[])
            .execute("", -1)
            .sync()
            .ready();
        c.note("suspended, with Flush between");
        c.parse("", "SELECT generate_series(1, 3)", &[])
            .bind("q", "", &[])
            .execute("q", 1)
            .flush()
            .until(b's');
        c.execute("q", 1).flush().until(b's');
        c.close_portal("q").execute("q", 1).sync().ready();
    });
}

#[test]
fn portals_by_name() {
    same(|c| {
        c.execute("nosuch", 0).sync().ready();
        c.close_portal("nosuch").sync().ready();
        c.ask("BEGIN");
        c.parse("s", "SELECT $1::int", &[])
            .bind("p", "s", &[text("1")])
            .bind("q", "s", &[text("2")]);
        c.execute("q", 0).execute("p", 0).sync().ready();
        c.note("the name is taken");
        c.bind("p", "s", &[text("3")]).sync().ready();
        c.ask("ROLLBACK");
        c.ask("BEGIN");
        c.note("the unnamed one is replaced");
        c.bind("", "s", &[text("4")])
            .bind("", "s", &[text("5")])
            .execute("", 0)
            .sync()
            .ready();
        c.note("closing the statement leaves its portal");
        c.bind("p", "s", &[text("6")])
            .close_statement("s")
            .execute("p", 0)
            .sync()
            .ready();
        c.note("a portal closed and made again");
        c.parse("s", "SELECT $1::int", &[])
            .close_portal("p")
            .bind("p", "s", &[text("7")])
            .execute("p", 0)
            .sync()
            .ready();
        c.ask("COMMIT");
        c.execute("p", 0).sync().ready();
    });
}

#[test]
fn portals_of_a_failed_transaction() {
    same(|c| {
        c.ask("BEGIN");
        c.parse("", "SELECT generate_series(1, 9)", &[])
            .bind("p", "", &[])
            .execute("p", 1)
            .sync()
            .ready();
        c.run("SELECT 1/0", &[]).sync().ready();
        c.execute("p", 1).sync().ready();
        c.bind("r", "", &[]).sync().ready();
        c.describe_portal("p").sync().ready();
        c.ask("ROLLBACK");
    });
}

#[test]
fn portals_and_savepoints() {
    same(|c| {
        c.ask("BEGIN");
        c.parse("", "SELECT generate_series(1, 9)", &[])
            .bind("outer", "", &[])
            .execute("outer", 1)
            .sync()
            .ready();
        c.ask("SAVEPOINT a");
        c.parse("", "SELECT generate_series(11, 19)", &[])
            .bind("inner", "", &[])
            .execute("inner", 1)
            .sync()
            .ready();
        c.ask("ROLLBACK TO a");
        c.execute("outer", 1).sync().ready();
        c.execute("inner", 1).sync().ready();
        c.ask("ROLLBACK");
    });
}

#[test]
fn a_portal_that_is_executed_again() {
    let setup = "DROP TABLE IF EXISTS portals_again; CREATE TABLE portals_again (id int)";
    same_with(setup, |c| {
        c.ask("BEGIN");
        c.parse("", "INSERT INTO portals_again VALUES (1)", &[])
            .bind("p", "", &[])
            .execute("p", 0)
            .sync()
            .ready();
        c.execute("p", 0).sync().ready();
        c.ask("ROLLBACK");
        c.note("RETURNING with a limit");
        c.parse(
            "",
            "INSERT INTO portals_again VALUES (1), (2), (3) RETURNING id",
            &[],
        )
        .bind("", "", &[]);
        c.execute("", 1).execute("", 0).sync().ready();
        c.ask("SELECT count(*) FROM portals_again");
    });
}
