//! The extended query protocol: statements, portals, pipelines.

use tests::conversation::{NULL, binary, text};

use crate::{same, same_with};

#[test]
fn one_statement() {
    same(|c| {
        c.run("SELECT $1::int + 1, $2::text", &[text("41"), NULL])
            .sync()
            .ready();
        c.run("SELECT 1 WHERE false", &[]).sync().ready();
        c.run("", &[]).sync().ready();
        c.run(" ; ", &[]).sync().ready();
        c.run("SELECT 1/0", &[]).sync().ready();
        c.run("SELEC", &[]).sync().ready();
        c.run("SELECT 1; SELECT 2", &[]).sync().ready();
        c.run("SELECT nosuch", &[]).sync().ready();
        c.run("SELECT 'ä', $1::int", &[text("x")]).sync().ready();
        c.run("SELECT 1", &[]).sync().ready();
    });
}

#[test]
fn several_statements_before_one_sync() {
    let setup = "DROP TABLE IF EXISTS extended_pipeline; CREATE TABLE extended_pipeline (id int PRIMARY KEY)";
    same_with(setup, |c| {
        for id in ["1", "2", "3"] {
            c.run("INSERT INTO extended_pipeline VALUES ($1)", &[text(id)]);
        }
        c.run("SELECT count(*) FROM extended_pipeline", &[])
            .sync()
            .ready();
        c.note("an error in the middle undoes the whole pipeline");
        for id in ["4", "1", "5"] {
            c.run("INSERT INTO extended_pipeline VALUES ($1)", &[text(id)]);
        }
        c.sync().ready();
        c.ask("SELECT id FROM extended_pipeline ORDER BY id");
        c.note("several pipelines at once");
        c.run("INSERT INTO extended_pipeline VALUES (6)", &[])
            .sync();
        c.run("INSERT INTO extended_pipeline VALUES (6)", &[])
            .run("SELECT 1", &[])
            .sync();
        c.run("INSERT INTO extended_pipeline VALUES (7)", &[])
            .sync();
        c.run("SELECT id FROM extended_pipeline ORDER BY id", &[])
            .sync();
        c.query("SELECT count(*) FROM extended_pipeline");
        c.ready_times(5);
    });
}

#[test]
fn statements_without_tables_in_one_pipeline() {
    same(|c| {
        c.parse("a", "SELECT 1", &[])
            .parse("b", "SELECT $1::int", &[])
            .parse("c", "SELECT 3", &[]);
        c.bind("", "a", &[])
            .execute("", 0)
            .bind("", "b", &[text("2")])
            .execute("", 0)
            .bind("", "c", &[])
            .execute("", 0);
        c.sync().ready();
        c.bind("", "c", &[])
            .execute("", 0)
            .bind("", "b", &[text("z")])
            .execute("", 0)
            .bind("", "a", &[])
            .execute("", 0);
        c.sync().ready();
        c.bind("", "a", &[]).execute("", 0).sync().ready();
    });
}

#[test]
fn flush_brings_the_answers_so_far() {
    same(|c| {
        c.parse("", "SELECT $1::int", &[]).flush().until(b'1');
        c.describe_statement("").flush().until(b'T');
        c.bind("", "", &[text("7")]).flush().until(b'2');
        c.describe_portal("").flush().until(b'T');
        c.execute("", 0).flush().until(b'C');
        c.flush().sync().ready();
        c.note("an error comes at once, the rest is skipped");
        c.run("SELECT 1/0", &[]).flush().until(b'E');
        c.run("SELECT 1", &[]).flush();
        c.sync().ready();
    });
}

#[test]
fn named_statements() {
    same(|c| {
        c.parse("one", "SELECT $1::int", &[]).sync().ready();
        c.bind("", "one", &[text("1")])
            .execute("", 0)
            .sync()
            .ready();
        c.note("the name is taken");
        c.parse("one", "SELECT 2", &[]).sync().ready();
        c.bind("", "one", &[text("3")])
            .execute("", 0)
            .sync()
            .ready();
        c.note("an error in between does not touch it");
        c.ask("SELECT 1/0");
        c.bind("", "one", &[text("4")])
            .execute("", 0)
            .sync()
            .ready();
        c.note("closed, unknown, made again");
        c.close_statement("one")
            .close_statement("nosuch")
            .sync()
            .ready();
        c.bind("", "one", &[text("5")])
            .execute("", 0)
            .sync()
            .ready();
        c.describe_statement("one").sync().ready();
        c.parse("one", "SELECT 'again'", &[])
            .bind("", "one", &[])
            .execute("", 0)
            .sync()
            .ready();
        c.note("a statement whose pipeline fails before its Parse does not exist");
        c.run("SELECT 1/0", &[])
            .parse("late", "SELECT 1", &[])
            .sync()
            .ready();
        c.bind("", "late", &[]).execute("", 0).sync().ready();
        c.note("one whose pipeline fails after its Parse does");
        c.parse("early", "SELECT 6", &[])
            .run("SELECT 1/0", &[])
            .sync()
            .ready();
        c.bind("", "early", &[]).execute("", 0).sync().ready();
        c.note("a Close that is skipped leaves the statement");
        c.run("SELECT 1/0", &[])
            .close_statement("early")
            .sync()
            .ready();
        c.bind("", "early", &[]).execute("", 0).sync().ready();
        c.note("ROLLBACK does not take a statement away");
        c.ask("BEGIN");
        c.parse("within", "SELECT 7", &[]).sync().ready();
        c.ask("ROLLBACK");
        c.bind("", "within", &[]).execute("", 0).sync().ready();
    });
}

#[test]
fn a_failed_parse_leaves_no_name() {
    same(|c| {
        c.parse("bad", "SELECT nosuch", &[]).sync().ready();
        c.bind("", "bad", &[]).sync().ready();
        c.parse("bad", "SELEC", &[]).sync().ready();
        c.parse("bad", "SELECT 1", &[])
            .bind("", "bad", &[])
            .execute("", 0)
            .sync()
            .ready();
    });
}

#[test]
fn the_unnamed_statement() {
    same(|c| {
        c.bind("", "", &[]).sync().ready();
        c.parse("", "SELECT 1", &[]).sync().ready();
        c.bind("", "", &[]).execute("", 0).sync().ready();
        c.bind("", "", &[]).execute("", 0).sync().ready();
        c.parse("", "SELECT 2", &[]).sync().ready();
        c.bind("", "", &[]).execute("", 0).sync().ready();
        c.note("a simple query ends it");
        c.ask("SELECT 3");
        c.bind("", "", &[]).execute("", 0).sync().ready();
        c.note("so does Close");
        c.parse("", "SELECT 4", &[])
            .close_statement("")
            .sync()
            .ready();
        c.describe_statement("").sync().ready();
        c.note("and a Parse that fails");
        c.parse("", "SELECT 5", &[]).sync().ready();
        c.parse("", "SELECT nosuch", &[]).sync().ready();
        c.bind("", "", &[]).execute("", 0).sync().ready();
    });
}

#[test]
fn describe() {
    let setup = "DROP TABLE IF EXISTS extended_describe; CREATE TABLE extended_describe (id int PRIMARY KEY, name varchar(10), price numeric(8,2), at timestamptz)";
    same_with(setup, |c| {
        c.parse(
            "",
            "SELECT $1, id, name, price, at FROM extended_describe WHERE id = $2 AND name LIKE $3",
            &[],
        );
        c.describe_statement("").sync().ready();
        c.parse("typed", "SELECT $1, $2, $3", &[23, 1700, 0])
            .describe_statement("typed")
            .sync()
            .ready();
        c.parse(
            "insert",
            "INSERT INTO extended_describe VALUES ($1, $2) RETURNING *",
            &[],
        )
        .describe_statement("insert")
        .sync()
        .ready();
        c.parse("delete", "DELETE FROM extended_describe WHERE id = $1", &[])
            .describe_statement("delete")
            .sync()
            .ready();
        c.parse("empty", "", &[])
            .describe_statement("empty")
            .sync()
            .ready();
        c.bind_as(
            "p",
            "typed",
            &[text("1"), text("2.50"), text("c")],
            &[1, 0, 1],
        )
        .describe_portal("p")
        .execute("p", 0)
        .sync()
        .ready();
        c.bind("", "delete", &[text("1")])
            .describe_portal("")
            .sync()
            .ready();
        c.describe_portal("nosuch").sync().ready();
        c.describe_statement("nosuch").sync().ready();
        c.parse("begin", "BEGIN", &[])
            .describe_statement("begin")
            .sync()
            .ready();
        c.parse("set", "SET work_mem = '1MB'", &[])
            .describe_statement("set")
            .sync()
            .ready();
        c.parse("show", "SHOW work_mem", &[])
            .describe_statement("show")
            .sync()
            .ready();
        c.parse("any", "SELECT $1", &[])
            .describe_statement("any")
            .sync()
            .ready();
        c.parse("more", "SELECT 1", &[23, 25])
            .describe_statement("more")
            .sync()
            .ready();
    });
}

#[test]
fn binary_parameters_and_results() {
    same(|c| {
        c.parse(
            "",
            "SELECT $1::int4, $2::int8, $3::text, $4::bytea, $5::bool, $6::uuid, $7::float8",
            &[],
        );
        let uuid = [7u8; 16];
        let arguments = [
            binary(&[0, 0, 1, 0]),
            binary(&[0xff; 8]),
            binary("grün".as_bytes()),
            binary(&[0, 1, 255]),
            binary(&[1]),
            binary(&uuid),
            (1, Some(&1.5f64.to_be_bytes()[..])),
        ];
        c.bind_as("", "", &arguments, &[1])
            .describe_portal("")
            .execute("", 0)
            .sync()
            .ready();
        c.bind_as("", "", &arguments, &[0])
            .describe_portal("")
            .execute("", 0)
            .sync()
            .ready();
        c.bind_as("", "", &arguments, &[0, 1, 0, 1, 0, 1, 0])
            .describe_portal("")
            .execute("", 0)
            .sync()
            .ready();
        c.bind_as("", "", &arguments, &[])
            .execute("", 0)
            .sync()
            .ready();
        c.note("mixed formats, NULLs");
        c.parse("", "SELECT $1::int4, $2::int4, $3::text", &[]);
        c.bind_as("", "", &[text("5"), binary(&[0, 0, 0, 6]), (1, None)], &[1])
            .execute("", 0)
            .sync()
            .ready();
        c.note("wrong lengths, wrong counts, wrong formats");
        c.bind_as("", "", &[binary(&[1]), text("1"), NULL], &[1])
            .execute("", 0)
            .sync()
            .ready();
        c.bind("", "", &[text("1")]).execute("", 0).sync().ready();
        c.bind("", "", &[text("1"), text("2"), text("3"), text("4")])
            .execute("", 0)
            .sync()
            .ready();
        c.bind_as("", "", &[text("5"), text("6"), NULL], &[1, 1])
            .execute("", 0)
            .sync()
            .ready();
        c.bind_as("", "", &[text("5"), text("6"), (7, Some(b"x"))], &[1])
            .execute("", 0)
            .sync()
            .ready();
        c.bind_as("", "", &[text("5"), text("6"), NULL], &[9])
            .execute("", 0)
            .sync()
            .ready();
        c.parse("", "SELECT $1::text", &[])
            .bind("", "", &[text("a\0b")])
            .execute("", 0)
            .sync()
            .ready();
        c.parse("", "SELECT $1::text", &[])
            .bind("", "", &[(0, Some(b"\xff"))])
            .execute("", 0)
            .sync()
            .ready();
    });
}

#[test]
fn long_pipelines() {
    let setup =
        "DROP TABLE IF EXISTS extended_long; CREATE TABLE extended_long (id int PRIMARY KEY)";
    same_with(setup, |c| {
        c.parse("insert", "INSERT INTO extended_long VALUES ($1)", &[]);
        for id in 0..1000 {
            c.bind("", "insert", &[text(&id.to_string())])
                .execute("", 0);
        }
        c.sync().ready();
        c.note("a thousand Syncs before any answer is read");
        for id in 500..1500 {
            c.bind("", "insert", &[text(&id.to_string())])
                .execute("", 0)
                .sync();
        }
        c.ready_times(1000);
        for _ in 0..1000 {
            c.query("SELECT 1");
        }
        c.ready_times(1000);
        c.ask("SELECT count(*), sum(id) FROM extended_long");
    });
}

#[test]
fn messages_without_an_answer_before_sync() {
    same(|c| {
        c.sync().sync().sync().ready_times(3);
        c.flush().sync().ready();
        c.parse("", "SELECT 1", &[]).sync().ready();
        c.parse("", "SELECT 1", &[])
            .bind("", "", &[])
            .sync()
            .ready();
        c.note("a simple query in the middle of a batch");
        c.parse("", "SELECT 2", &[])
            .bind("", "", &[])
            .execute("", 0)
            .query("SELECT 3")
            .sync()
            .ready_times(2);
        c.parse("", "SELECT 1/0", &[])
            .bind("", "", &[])
            .execute("", 0)
            .query("SELECT 3")
            .sync()
            .ready();
    });
}
