//! COPY in both directions and both protocols.

use crate::{same, same_with};

const SETUP: &str =
    "DROP TABLE IF EXISTS copied; CREATE TABLE copied (id int PRIMARY KEY, name text)";

fn with_table(name: &str) -> String {
    SETUP.replace("copied", name)
}

#[test]
fn out_of_a_query() {
    same(|c| {
        c.ask("COPY (VALUES (1, 'a'), (2, NULL)) TO STDOUT");
        c.ask("COPY (SELECT 1 WHERE false) TO STDOUT");
        c.ask("COPY (SELECT 1, 'x') TO STDOUT (FORMAT binary)");
        c.ask("COPY (SELECT 1/(3 - g) FROM generate_series(1, 5) g) TO STDOUT");
        c.run("COPY (VALUES (1), (2)) TO STDOUT", &[])
            .sync()
            .ready();
        c.parse("", "COPY (VALUES (1), (2)) TO STDOUT", &[])
            .describe_statement("")
            .sync()
            .ready();
        c.ask("SELECT 1; COPY (VALUES (1)) TO STDOUT; SELECT 2");
    });
}

#[test]
fn in_by_a_simple_query() {
    same_with(&with_table("copied_simple"), |c| {
        c.query("COPY copied_simple FROM STDIN").until(b'G');
        c.message(b'd', b"1\tone\n")
            .message(b'd', b"2\t\\N\n3\tth")
            .message(b'd', b"ree\n")
            .message(b'c', b"")
            .ready();
        c.ask("SELECT * FROM copied_simple ORDER BY id");
        c.note("everything in one packet");
        c.query("COPY copied_simple FROM STDIN (FORMAT csv)")
            .message(b'd', b"4,four\n")
            .message(b'c', b"")
            .query("SELECT count(*) FROM copied_simple")
            .ready_times(2);
        c.note("nothing");
        c.query("COPY copied_simple FROM STDIN")
            .message(b'c', b"")
            .ready();
        c.note("the end mark, and a client that sends Flush and Sync");
        c.query("COPY copied_simple FROM STDIN").until(b'G');
        c.flush()
            .message(b'd', b"5\tfive\n\\.\n")
            .sync()
            .message(b'c', b"")
            .ready();
        c.ask("SELECT * FROM copied_simple ORDER BY id");
        c.note("within a transaction");
        c.ask("BEGIN");
        c.query("COPY copied_simple FROM STDIN").until(b'G');
        c.message(b'd', b"6\tsix\n").message(b'c', b"").ready();
        c.ask("ROLLBACK");
        c.ask("SELECT count(*) FROM copied_simple");
        c.note("as one of several statements");
        c.query("SELECT 1; COPY copied_simple FROM STDIN; SELECT count(*) FROM copied_simple")
            .until(b'G');
        c.message(b'd', b"7\tseven\n").message(b'c', b"").ready();
    });
}

#[test]
fn in_with_errors() {
    same_with(&with_table("copied_errors"), |c| {
        c.note("CopyFail");
        c.query("COPY copied_errors FROM STDIN").until(b'G');
        c.message(b'd', b"1\tone\n")
            .message(b'f', b"changed my mind\0")
            .ready();
        c.note("bad data, found at once or at the end");
        c.query("COPY copied_errors FROM STDIN").until(b'G');
        c.message(b'd', b"1\tone\nx\ttwo\n")
            .message(b'c', b"")
            .ready();
        c.query("COPY copied_errors FROM STDIN").until(b'G');
        c.message(b'd', b"1\tone\n1\tagain\n")
            .message(b'c', b"")
            .ready();
        c.query("COPY copied_errors FROM STDIN").until(b'G');
        c.message(b'd', b"1\n").message(b'c', b"").ready();
        c.note("data after the error is thrown away");
        c.query("COPY copied_errors FROM STDIN").until(b'G');
        c.message(b'd', b"x\ty\n").until(b'E');
        c.message(b'd', b"2\ttwo\n")
            .message(b'd', b"3\tthree\n")
            .message(b'c', b"")
            .ready();
        c.ask("SELECT count(*) FROM copied_errors");
        c.note("a failure in a transaction");
        c.ask("BEGIN");
        c.query("COPY copied_errors FROM STDIN").until(b'G');
        c.message(b'f', b"no\0").ready();
        c.ask("SELECT 1");
        c.ask("ROLLBACK");
        c.ask("COPY nosuchtable FROM STDIN");
        c.ask("COPY copied_errors (nosuch) FROM STDIN");
        c.note("data without a COPY is thrown away");
        c.message(b'd', b"9\tnine\n")
            .message(b'c', b"")
            .message(b'f', b"x\0");
        c.ask("SELECT count(*) FROM copied_errors");
    });
}

#[test]
fn in_by_the_extended_protocol() {
    same_with(&with_table("copied_extended"), |c| {
        c.note("Sync after CopyDone");
        c.parse("", "COPY copied_extended FROM STDIN", &[])
            .bind("", "", &[])
            .describe_portal("")
            .execute("", 0)
            .flush()
            .until(b'G');
        c.message(b'd', b"1\tone\n")
            .message(b'c', b"")
            .sync()
            .ready();
        c.note("Sync before the data, as libpq does, and after");
        c.parse("", "COPY copied_extended FROM STDIN", &[])
            .bind("", "", &[])
            .describe_portal("")
            .execute("", 0)
            .sync()
            .until(b'G');
        c.message(b'd', b"2\ttwo\n")
            .message(b'c', b"")
            .sync()
            .ready();
        c.ask("SELECT * FROM copied_extended ORDER BY id");
        c.note("CopyFail");
        c.parse("", "COPY copied_extended FROM STDIN", &[])
            .bind("", "", &[])
            .execute("", 0)
            .sync()
            .until(b'G');
        c.message(b'd', b"3\tthree\n")
            .message(b'f', b"no\0")
            .sync()
            .ready();
        c.note("bad data: everything up to Sync is skipped");
        c.parse("", "COPY copied_extended FROM STDIN", &[])
            .bind("", "", &[])
            .execute("", 0)
            .sync()
            .until(b'G');
        c.message(b'd', b"x\tthree\n").until(b'E');
        c.message(b'd', b"4\tfour\n")
            .message(b'c', b"")
            .sync()
            .ready();
        c.note("a pipeline that goes on after the copy");
        c.run("SELECT 1", &[])
            .parse("", "COPY copied_extended FROM STDIN", &[])
            .bind("", "", &[])
            .execute("", 0)
            .flush()
            .until(b'G');
        c.message(b'd', b"5\tfive\n")
            .message(b'c', b"")
            .run("SELECT count(*) FROM copied_extended", &[])
            .sync()
            .ready();
        c.ask("SELECT * FROM copied_extended ORDER BY id");
    });
}

#[test]
fn much_data() {
    same_with(&with_table("copied_much"), |c| {
        c.query("COPY copied_much FROM STDIN").until(b'G');
        for start in 0..100 {
            let mut rows = String::new();
            for id in start * 100..(start + 1) * 100 {
                rows.push_str(&format!("{id}\t{}\n", "x".repeat(100)));
            }
            c.message(b'd', rows.as_bytes());
        }
        c.message(b'c', b"").ready();
        c.ask("SELECT count(*), sum(id), sum(length(name)) FROM copied_much");
        c.query("COPY copied_much TO STDOUT").ready();
        c.note("one value of 20 MB, in one message");
        let mut row = b"-1\t".to_vec();
        row.resize(20 << 20, b'y');
        row.push(b'\n');
        c.query("COPY copied_much FROM STDIN").until(b'G');
        c.message(b'd', &row).message(b'c', b"").ready();
        c.query("COPY (SELECT * FROM copied_much WHERE id < 0) TO STDOUT")
            .ready();
    });
}
