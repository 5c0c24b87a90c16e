//! The simple query protocol.

use crate::{same, same_with};

#[test]
fn one_statement() {
    same(|c| {
        c.ask("SELECT 1, 'a' AS b, NULL::int");
        c.ask("  SELECT 2 ; ");
        c.ask("SELECT 1 WHERE false");
        c.ask("VALUES (1, 'x'), (2, NULL)");
    });
}

#[test]
fn empty_queries() {
    same(|c| {
        c.ask("");
        c.ask(" ; ;;");
        c.ask("-- only a comment");
        c.ask("/* nothing */ ;");
    });
}

#[test]
fn errors_have_the_server_s_text_and_position() {
    same(|c| {
        c.ask("SELECT 1/0");
        c.ask("SELEC 1");
        c.ask("SELECT 'a' + 1, 2");
        c.ask("SELECT nosuchcolumn");
        c.ask("SELECT * FROM nosuchtable");
        c.ask("SELECT nosuchfunction(1)");
        c.ask("SELECT 'unterminated");
        c.ask("SELECT 'größer', nosuchcolumn");
        c.ask("SELECT 1 +");
        c.ask("SELECT 'abc'::int");
        c.ask("SELECT \"\"");
        c.ask("SELECT 1");
    });
}

#[test]
fn several_statements() {
    same(|c| {
        c.ask("SELECT 1; SELECT 2; SELECT 3");
        c.ask("SELECT 1; SELECT 1/0; SELECT 3");
        c.ask("SELECT 1;; SELECT 2;");
        c.ask("SELECT 1; SELECT größer; SELECT 3");
        c.ask("SELECT 'ä'; SELECT nosuchcolumn");
        c.ask("SELECT 1; SELEC 2");
    });
}

#[test]
fn several_statements_are_one_transaction() {
    let setup =
        "DROP TABLE IF EXISTS simple_several; CREATE TABLE simple_several (id int PRIMARY KEY)";
    same_with(setup, |c| {
        c.ask("INSERT INTO simple_several VALUES (1); INSERT INTO simple_several VALUES (2); SELECT count(*) FROM simple_several");
        c.ask("INSERT INTO simple_several VALUES (3); INSERT INTO simple_several VALUES (1); SELECT 1");
        c.ask("SELECT count(*) FROM simple_several");
        c.ask("INSERT INTO simple_several VALUES (4); SELECT 1/0");
        c.ask("SELECT count(*) FROM simple_several");
        c.ask("SET work_mem = '1MB'; INSERT INTO simple_several VALUES (5); SELECT 1/0");
        c.ask("SELECT count(*) FROM simple_several; SHOW work_mem");
    });
}

#[test]
fn transactions_within_one_text() {
    let setup =
        "DROP TABLE IF EXISTS simple_blocks; CREATE TABLE simple_blocks (id int PRIMARY KEY)";
    same_with(setup, |c| {
        c.ask("BEGIN; INSERT INTO simple_blocks VALUES (1); COMMIT; SELECT count(*) FROM simple_blocks");
        c.ask("INSERT INTO simple_blocks VALUES (2); BEGIN; INSERT INTO simple_blocks VALUES (3)");
        c.ask("ROLLBACK");
        c.ask("SELECT id FROM simple_blocks ORDER BY id");
        c.ask("BEGIN; INSERT INTO simple_blocks VALUES (4); SELECT 1/0; COMMIT");
        c.ask("SELECT 1");
        c.ask("COMMIT");
        c.ask("SELECT id FROM simple_blocks ORDER BY id");
        c.ask("INSERT INTO simple_blocks VALUES (5); COMMIT; INSERT INTO simple_blocks VALUES (6); SELECT 1/0");
        c.ask("SELECT id FROM simple_blocks ORDER BY id");
        c.ask(
            "INSERT INTO simple_blocks VALUES (7); ROLLBACK; INSERT INTO simple_blocks VALUES (8)",
        );
        c.ask("SELECT id FROM simple_blocks ORDER BY id");
        c.ask("BEGIN; COMMIT; BEGIN");
        c.ask("COMMIT; SELECT 1");
    });
}

#[test]
fn transaction_status() {
    same(|c| {
        c.ask("BEGIN");
        c.ask("SELECT 1");
        c.ask("SELECT 1/0");
        c.ask("SELECT 2");
        c.ask("");
        c.ask("BEGIN");
        c.ask("ROLLBACK");
        c.ask("COMMIT");
        c.ask("ROLLBACK");
        c.ask("START TRANSACTION READ ONLY");
        c.ask("BEGIN");
        c.ask("SHOW transaction_read_only");
        c.ask("END");
        c.ask("BEGIN ISOLATION LEVEL SERIALIZABLE");
        c.ask("SHOW transaction_isolation");
        c.ask("COMMIT AND CHAIN");
        c.ask("SHOW transaction_isolation");
        c.ask("ABORT");
        c.ask("COMMIT AND CHAIN");
        c.ask("BEGIN; SELECT 1/0");
        c.ask("COMMIT");
        c.ask("SET TRANSACTION READ ONLY");
        c.ask("BEGIN; SET TRANSACTION READ ONLY; SHOW transaction_read_only; END");
    });
}

#[test]
fn savepoints() {
    let setup = "DROP TABLE IF EXISTS simple_savepoints; CREATE TABLE simple_savepoints (id int PRIMARY KEY)";
    same_with(setup, |c| {
        c.ask("SAVEPOINT a");
        c.ask("ROLLBACK TO a");
        c.ask("RELEASE a");
        c.ask("BEGIN");
        c.ask("SAVEPOINT a");
        c.ask("INSERT INTO simple_savepoints VALUES (1)");
        c.ask("SAVEPOINT b");
        c.ask("INSERT INTO simple_savepoints VALUES (1)");
        c.ask("SELECT 1");
        c.ask("SAVEPOINT c");
        c.ask("RELEASE b");
        c.ask("ROLLBACK TO b");
        c.ask("INSERT INTO simple_savepoints VALUES (2)");
        c.ask("RELEASE b");
        c.ask("ROLLBACK TO SAVEPOINT b");
        c.ask("ROLLBACK TO SAVEPOINT a");
        c.ask("INSERT INTO simple_savepoints VALUES (3)");
        c.ask("ROLLBACK TO nosuch");
        c.ask("ROLLBACK TO a");
        c.ask("RELEASE nosuch");
        c.ask("COMMIT");
        c.ask("SELECT id FROM simple_savepoints ORDER BY id");
        c.ask("BEGIN; SAVEPOINT a; SELECT 1/0");
        c.ask("ROLLBACK TO a; INSERT INTO simple_savepoints VALUES (9); COMMIT");
        c.ask("SELECT id FROM simple_savepoints ORDER BY id");
    });
}

#[test]
fn queries_sent_before_any_answer_is_read() {
    same(|c| {
        c.query("SELECT 1")
            .query("SELECT 1/0")
            .query("SELECT 3")
            .query("BEGIN")
            .query("SELECT 4");
        c.ready_times(5);
        c.query("COMMIT").query("").query("SELECT 5");
        c.ready_times(3);
    });
}

#[test]
fn notices() {
    same(|c| {
        c.ask("DO $$ BEGIN RAISE NOTICE 'hello %', 1; RAISE WARNING 'careful'; END $$");
        c.ask("SET client_min_messages = warning");
        c.ask("DO $$ BEGIN RAISE NOTICE 'unheard'; RAISE WARNING 'heard'; END $$");
        c.ask("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'P0099', HINT = 'h', DETAIL = 'd'; END $$");
    });
}
