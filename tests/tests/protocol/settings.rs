//! SET, SHOW and RESET, in and out of transactions, and what the client is told of them.

use std::net::SocketAddr;

use tests::client::Client;
use tests::conversation::text;

use crate::{SHARED, same};

#[test]
fn set_show_reset() {
    same(|c| {
        c.ask("SHOW work_mem");
        c.ask("SET work_mem = '3MB'");
        c.ask("SHOW work_mem");
        c.ask("SET work_mem TO DEFAULT");
        c.ask("SHOW work_mem");
        c.ask("SET work_mem TO '5MB'; SHOW work_mem");
        c.ask("RESET work_mem; SHOW work_mem");
        c.ask("SET work_mem = 'much'");
        c.ask("SET nosuchsetting = 1");
        c.ask("SHOW nosuchsetting");
        c.ask("RESET nosuchsetting");
        c.ask("SET my.own = 'x'");
        c.ask("SHOW my.own");
        c.ask("SELECT current_setting('my.own'), current_setting('my.none', true)");
        c.ask("SET search_path = a, \"B c\", 'd'");
        c.ask("SHOW search_path");
        c.ask("SET search_path = ''");
        c.ask("SHOW search_path");
        c.ask("RESET ALL");
        c.ask("SHOW search_path");
        c.ask("SET statement_timeout = 12345; SHOW statement_timeout");
        c.ask("SET SESSION lock_timeout = '7s'");
        c.ask("SHOW lock_timeout");
        c.ask("SET TIME ZONE 'Asia/Tokyo'");
        c.ask("SHOW TIME ZONE");
        c.ask("SELECT '2020-01-01 00:00:00+00'::timestamptz");
        c.ask("SET TIME ZONE LOCAL");
        c.ask("SET TIME ZONE -3");
        c.ask("SHOW timezone");
        c.ask("SET NAMES 'LATIN1'");
        c.ask("SHOW client_encoding");
        c.ask("SELECT chr(228)");
        c.ask("SET NAMES DEFAULT");
        c.ask("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY");
        c.ask("SHOW default_transaction_read_only");
        c.ask("SELECT set_config('work_mem', '9MB', false)");
        c.ask("SHOW work_mem");
        c.ask("DISCARD ALL");
        c.ask("SHOW work_mem; SHOW default_transaction_read_only; SHOW timezone");
    });
}

#[test]
fn settings_and_rollback() {
    same(|c| {
        c.ask("SET work_mem = '1MB'");
        c.ask("BEGIN");
        c.ask("SET work_mem = '2MB'");
        c.ask("SHOW work_mem");
        c.ask("ROLLBACK");
        c.ask("SHOW work_mem");
        c.ask("BEGIN; SET work_mem = '3MB'; COMMIT");
        c.ask("SHOW work_mem");
        c.ask("BEGIN");
        c.ask("SET LOCAL work_mem = '4MB'");
        c.ask("SHOW work_mem");
        c.ask("COMMIT");
        c.ask("SHOW work_mem");
        c.ask("SET LOCAL work_mem = '5MB'");
        c.ask("SHOW work_mem");
        c.ask("BEGIN; SET work_mem = '6MB'; SAVEPOINT a; SET work_mem = '7MB'");
        c.ask("ROLLBACK TO a");
        c.ask("SHOW work_mem");
        c.ask("SET LOCAL work_mem = '8MB'; SHOW work_mem");
        c.ask("COMMIT");
        c.ask("SHOW work_mem");
        c.ask("BEGIN; SET work_mem = '9MB'; SELECT 1/0");
        c.ask("COMMIT");
        c.ask("SHOW work_mem");
        c.ask("BEGIN; SELECT set_config('work_mem', '10MB', true)");
        c.ask("SHOW work_mem");
        c.ask("END");
        c.ask("SHOW work_mem");
        c.ask("BEGIN; SELECT set_config('work_mem', '11MB', false); ROLLBACK");
        c.ask("SHOW work_mem");
        c.ask("BEGIN; RESET work_mem");
        c.ask("ROLLBACK; SHOW work_mem");
        c.ask("BEGIN; SET LOCAL work_mem = '1MB'; SET work_mem = '2MB'; COMMIT; SHOW work_mem");
        c.ask("BEGIN; SET work_mem = '3MB'; SET LOCAL work_mem = '4MB'; COMMIT; SHOW work_mem");
        c.ask("SET work_mem = '12MB'; SELECT 1/0");
        c.ask("SHOW work_mem");
    });
}

#[test]
fn reported_parameters() {
    same(|c| {
        c.ask("SET application_name = 'suite'");
        c.ask("SET application_name = 'suite'");
        c.ask("SET datestyle = 'German'");
        c.ask("SELECT '2020-01-02'::date");
        c.ask("SET DateStyle TO 'ISO, DMY'; SET intervalstyle = 'iso_8601'");
        c.ask("BEGIN; SET application_name = 'within'");
        c.ask("ROLLBACK");
        c.ask("SHOW application_name");
        c.ask("BEGIN; SELECT 1; SET LOCAL application_name = 'local'");
        c.ask("COMMIT");
        c.ask("SET standard_conforming_strings = off");
        c.ask("SET standard_conforming_strings = on; RESET datestyle");
        c.ask("SET client_encoding = 'SQL_ASCII'");
        c.ask("RESET ALL");
        c.ask("SET timezone = 'UTC'");
        c.ask("SELECT set_config('application_name', 'called', false)");
        c.ask("DISCARD ALL");
    });
}

#[test]
fn settings_by_the_extended_protocol() {
    same(|c| {
        c.run("SET work_mem = '1MB'", &[])
            .run("SHOW work_mem", &[])
            .sync()
            .ready();
        c.run("SET application_name = 'ext'", &[]).sync().ready();
        c.run("SHOW application_name", &[]).sync().ready();
        c.run("SET work_mem = '2MB'", &[])
            .run("SELECT 1/0", &[])
            .sync()
            .ready();
        c.run("SHOW work_mem", &[]).sync().ready();
        c.run("BEGIN", &[])
            .run("SET work_mem = '4MB'", &[])
            .run("ROLLBACK", &[])
            .run("SHOW work_mem", &[])
            .sync()
            .ready();
        c.run("SELECT set_config('work_mem', $1, false)", &[text("6MB")])
            .sync()
            .ready();
        c.run("SHOW work_mem", &[]).sync().ready();
        c.parse("show", "SHOW work_mem", &[])
            .bind_as("", "show", &[], &[1])
            .describe_portal("")
            .execute("", 0)
            .sync()
            .ready();
        c.run("RESET work_mem", &[])
            .bind("", "show", &[])
            .execute("", 0)
            .sync()
            .ready();
        c.run("SET nosuchsetting = 1", &[]).sync().ready();
        c.run("SET LOCAL work_mem = '1MB'", &[]).sync().ready();
    });
}

#[test]
fn roles() {
    for shard in SHARED.cluster().local.shards() {
        let server = SocketAddr::from(([127, 0, 0, 1], shard.primary.port()));
        let answer = Client::connect(server, &[])
            .unwrap()
            .query("CREATE ROLE settings_role")
            .unwrap();
        assert_eq!(answer[0].tag, b'C', "{answer:?}");
    }
    same(|c| {
        c.ask("SET ROLE settings_role");
        c.ask("SELECT current_user, session_user");
        c.ask("SHOW role");
        c.ask("SET ROLE NONE");
        c.ask("SELECT current_user");
        c.ask("BEGIN; SELECT 1; SET LOCAL ROLE settings_role");
        c.ask("SELECT current_user; COMMIT; SELECT current_user");
        c.ask("SET ROLE nosuchrole");
        c.ask("SET ROLE settings_role");
        c.ask("RESET ROLE; SELECT current_user");
        c.ask("SET SESSION AUTHORIZATION settings_role");
        c.ask("SELECT current_user, session_user");
        c.ask("RESET SESSION AUTHORIZATION");
        c.ask("SELECT current_user, session_user");
    });
}
