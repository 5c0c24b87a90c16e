//! Every text that this crate sends to a server.
//!
//! Names and values are quoted by [`quote_literal`] and [`quote_identifier`] and nowhere else. All texts are for the
//! simple query protocol. A text of several statements answers with several CommandCompletes; the
//! last one counts, rows in between are to be dropped unless said otherwise, and no row may be trusted before
//! ReadyForQuery came without an error.

use std::borrow::Cow;
use std::fmt::Write;

use catalog::{ClusterId, ShardId};

use crate::decision::Decision;
use crate::gid::{Gid, Named, PREFIX, ParticipantGid};
use crate::snapshot::View;

/// Raises `synchronous_commit` for this transaction where the session lowered it, and never lowers it.
const RAISE_DURABILITY: &str = "SELECT pg_catalog.set_config('synchronous_commit', 'on', true) \
     WHERE pg_catalog.current_setting('synchronous_commit') IN ('off', 'local', 'remote_write'); ";

/// A participant that is prepared, and its transaction's id on its shard; 0: it wrote nothing. `None`: not known.
pub type PreparedPart = (ShardId, Option<u64>);

/// What the coordinator sends on the transaction's own connections, each of them in the open transaction or, for
/// the two that end a prepared transaction, outside any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Inserts the decision row and commits. After an error the transaction may still be open, and failed.
    Decide {
        name: Named,
        participants: Vec<PreparedPart>,
    },
    /// Answers one row before it prepares: the transaction's id, or 0 if it has none ([`crate::snapshot`] wants it).
    Prepare(ParticipantGid),
    CommitPrepared(ParticipantGid),
    RollbackPrepared(ParticipantGid),
    Commit,
    Rollback,
}

impl Command {
    pub fn text(&self) -> Cow<'static, str> {
        match self {
            Command::Decide { name, participants } => {
                format!("{}; COMMIT", insert_decision(*name, participants)).into()
            }
            Command::Prepare(gid) => format!(
                "SELECT coalesce(pg_catalog.pg_current_xact_id_if_assigned(), '0'), \
                 CASE WHEN pg_catalog.current_setting('synchronous_commit') IN ('off', 'local', 'remote_write') \
                 THEN pg_catalog.set_config('synchronous_commit', 'on', true) END; PREPARE TRANSACTION {}",
                quote_literal(&gid.to_string())
            )
            .into(),
            Command::CommitPrepared(gid) => finish_prepared(*gid, Decision::Commit).into(),
            Command::RollbackPrepared(gid) => finish_prepared(*gid, Decision::Abort).into(),
            Command::Commit => "COMMIT".into(),
            Command::Rollback => "ROLLBACK".into(),
        }
    }
}

/// Inserts the decision row, uncommitted, in the open transaction of the coordinating shard. Its outcome is `commit` by
/// default, and its own transaction's id is too; others than recovery's role cannot say them.
pub fn insert_decision(name: Named, participants: &[PreparedPart]) -> String {
    let array = |items: Vec<String>| quote_literal(&format!("{{{}}}", items.join(",")));
    let shards = participants.iter().map(|(shard, _)| shard.0.to_string());
    let xids = participants.iter().map(|(_, xid)| match xid {
        Some(xid) => xid.to_string(),
        None => "NULL".to_owned(),
    });
    format!(
        "{RAISE_DURABILITY}INSERT INTO pgweave.decision (gid, proof, participants, participant_xids) VALUES ({}, {}, {}, {})",
        quote_literal(&name.gid.to_string()),
        quote_literal(&name.proof.text()),
        array(shards.collect()),
        array(xids.collect()),
    )
}

/// Ends a prepared transaction. To be sent alone: PostgreSQL refuses it in a transaction block, and a text of
/// several statements is one. Only the role that prepared it, or a superuser, may.
pub fn finish_prepared(gid: ParticipantGid, decision: Decision) -> String {
    let verb = match decision {
        Decision::Commit => "COMMIT",
        Decision::Abort => "ROLLBACK",
    };
    format!("{verb} PREPARED {}", quote_literal(&gid.to_string()))
}

/// Inserts an abort decision or returns the one that is there: one row, column `outcome`.
///
/// READ COMMITTED is asked for because at a higher level a row that was committed while the insert waited would be
/// a serialization failure instead of an answer. The update changes nothing; it makes RETURNING give the row.
/// For a connection of recovery's role, outside any transaction; after an error send ROLLBACK or close it.
pub fn decide_abort(gid: Gid, lock_timeout_ms: u32) -> String {
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout TO {lock_timeout_ms}; \
         SET LOCAL synchronous_commit TO on; \
         INSERT INTO pgweave.decision AS decision (gid, outcome) VALUES ({}, {}) \
         ON CONFLICT (gid) DO UPDATE SET outcome = decision.outcome RETURNING decision.outcome; COMMIT",
        quote_literal(&gid.to_string()),
        quote_literal(Decision::Abort.as_str()),
    )
}

/// Lists this cluster's prepared transactions in this database: columns `standby` (bool), `gid`, `owner`, `age_ms`
/// (bigint). Always at least one row; `gid` is null in it if there are none. `standby` true means that the
/// server is not the primary and the list is worth nothing.
pub fn list_prepared(cluster: ClusterId) -> String {
    format!(
        "SELECT pg_catalog.pg_is_in_recovery() AS standby, prepared.gid, prepared.owner, \
         (extract(epoch FROM pg_catalog.clock_timestamp() - prepared.prepared) * 1000)::bigint AS age_ms \
         FROM (VALUES (1)) AS one LEFT JOIN pg_catalog.pg_prepared_xacts AS prepared \
         ON prepared.database = pg_catalog.current_database() AND pg_catalog.starts_with(prepared.gid, {})",
        quote_literal(&format!("{PREFIX}{cluster}_")),
    )
}

/// Lists decisions of this cluster that `shard` coordinated and that are older than the retention, by the server's clock:
/// columns `gid`, `outcome`, `participants` (bigint[]), `settled` (bool). At most `limit`, in the order of their names,
/// beginning after the name `after`; so rows that must stay do not hide those behind them.
///
/// Of a commit `settled` does not matter and is true. Of an abort it counts as older any transaction whose start cannot
/// be seen: without `pg_read_all_stats`, or with `track_activities` off, an abort is never settled while others are
/// connected, and its row stays.
pub fn list_decisions(
    cluster: ClusterId,
    shard: ShardId,
    retention_ms: u64,
    after: &str,
    limit: u32,
) -> String {
    let suffix = format!("_{}", shard.0);
    format!(
        "SELECT gid, outcome, participants, outcome = 'commit' OR NOT EXISTS (\
         SELECT FROM pg_catalog.pg_stat_activity AS activity \
         WHERE activity.pid <> pg_catalog.pg_backend_pid() \
         AND coalesce(activity.backend_type, 'client backend') = 'client backend' \
         AND (activity.xact_start <= decision.decided_at \
         OR activity.xact_start IS NULL AND coalesce(activity.state, 'disabled') = 'disabled')) AS settled \
         FROM pgweave.decision AS decision \
         WHERE decided_at < pg_catalog.clock_timestamp() - {retention_ms} * interval '1 millisecond' \
         AND gid > {} AND pg_catalog.starts_with(gid, {}) AND pg_catalog.right(gid, {}) = {} \
         ORDER BY gid LIMIT {limit}",
        quote_literal(after),
        quote_literal(&format!("{PREFIX}{cluster}_")),
        suffix.len(),
        quote_literal(&suffix),
    )
}

/// Reads a decision without making one: columns `outcome`, `participants` (bigint[]), `age_ms` (bigint); no row if there is
/// none, or none that is committed yet.
pub fn read_decision(gid: Gid) -> String {
    format!(
        "SELECT outcome, participants, (extract(epoch FROM pg_catalog.clock_timestamp() - decided_at) * 1000)::bigint \
         FROM pgweave.decision WHERE gid = {}",
        quote_literal(&gid.to_string())
    )
}

/// The horizon of a server, or the snapshot of an open transaction: one row with one column.
pub const READ_SNAPSHOT: &str = "SELECT pg_catalog.pg_current_snapshot()";

/// Lists this cluster's prepared transactions in this database by name: column `gid`. To be run outside any transaction, since a snapshot
/// taken later is to be compared with it.
pub fn list_prepared_names(cluster: ClusterId) -> String {
    format!(
        "SELECT gid FROM pg_catalog.pg_prepared_xacts \
         WHERE database OPERATOR(pg_catalog.=) pg_catalog.current_database() AND pg_catalog.starts_with(gid, {})",
        quote_literal(&format!("{PREFIX}{cluster}_")),
    )
}

/// Those of these transactions that are still prepared: column `gid`.
pub fn still_prepared(parts: &[ParticipantGid]) -> String {
    format!(
        "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE gid = ANY (ARRAY[{}]::text[])",
        quoted_list(parts)
    )
}

/// Decisions to commit that a snapshot does not show, and those with certain names: columns `gid`, `xid`, `participants` (bigint[]),
/// `participant_xids` (xid8[] or null). The conditions are such that each has an index.
pub fn decisions_since(since: &View, gids: &[Gid]) -> String {
    let running: Vec<String> = since.running().iter().map(u64::to_string).collect();
    format!(
        "SELECT gid, xid, participants, participant_xids FROM pgweave.decision WHERE outcome = 'commit' \
         AND (xid >= '{}' OR xid = ANY ('{{{}}}'::xid8[]) OR gid = ANY (ARRAY[{}]::text[]))",
        since.xmax(),
        running.join(","),
        quoted_list(gids)
    )
}

/// Opens a transaction in which nobody can insert a decision on this shard until it ends.
///
/// The mode conflicts with that of INSERT, so writers pay nothing for it, and others than the table's owner cannot take it. Several
/// readers can hold it at once.
pub fn close_gate(lock_timeout_ms: u32) -> String {
    format!(
        "BEGIN; SET LOCAL lock_timeout TO {lock_timeout_ms}; LOCK TABLE pgweave.decision IN SHARE MODE"
    )
}

fn quoted_list(names: &[impl ToString]) -> String {
    let quoted: Vec<String> = names
        .iter()
        .map(|name| quote_literal(&name.to_string()))
        .collect();
    quoted.join(",")
}

/// Deletes decisions.
pub fn delete_decisions(gids: &[Gid]) -> String {
    let gids = quoted_list(gids);
    format!("DELETE FROM pgweave.decision WHERE gid = ANY (ARRAY[{gids}]::text[])")
}

/// Lists who waits for whom on a server: columns `pid`, `transaction`, `since_us`, `blocker_pid`, `blocker_transaction` (both
/// virtual ids), `lock` (words). Further rows have no `since_us`: the transactions that the processes `pids` are in.
///
/// `pg_locks` is seen by every role. Before version 14 it does not say since when somebody waits; there the start of the
/// statement counts, which a role without `pg_read_all_stats` does not see of others.
pub fn list_waits(pids: &[u32]) -> String {
    let mut list = String::new();
    for (index, pid) in pids.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(list, "{}{pid}", if index == 0 { "" } else { "," });
    }
    format!(
        "WITH lock AS MATERIALIZED (SELECT * FROM pg_catalog.pg_locks), \
         running AS MATERIALIZED (SELECT pid, virtualtransaction FROM lock \
         WHERE locktype = 'virtualxid' AND granted AND virtualxid = virtualtransaction) \
         SELECT waiting.pid, waiting.virtualtransaction, \
         (extract(epoch FROM coalesce((pg_catalog.to_jsonb(waiting) ->> 'waitstart')::timestamptz, activity.query_start)) * 1000000)::bigint, \
         running.pid, running.virtualtransaction, \
         waiting.mode || ' on ' || CASE waiting.locktype \
         WHEN 'transactionid' THEN 'transaction ' || waiting.transactionid \
         WHEN 'relation' THEN 'relation ' || waiting.relation::regclass \
         WHEN 'tuple' THEN pg_catalog.format('tuple (%s,%s) of relation %s', waiting.page, waiting.tuple, waiting.relation::regclass) \
         WHEN 'advisory' THEN pg_catalog.format('advisory lock [%s,%s,%s]', waiting.classid, waiting.objid, waiting.objsubid) \
         ELSE waiting.locktype END \
         FROM lock AS waiting LEFT JOIN pg_catalog.pg_stat_activity AS activity ON activity.pid = waiting.pid \
         CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(waiting.pid)) AS blocking (pid) \
         JOIN running ON running.pid = blocking.pid WHERE NOT waiting.granted \
         UNION ALL SELECT pid, virtualtransaction, NULL, NULL, NULL, NULL FROM running WHERE pid = ANY ('{{{list}}}'::integer[])"
    )
}

/// For recovery whose role is not a superuser: become the owner before ending a prepared transaction.
pub fn set_role(role: &str) -> String {
    format!("SET ROLE {}", quote_identifier(role))
}

/// A string constant. Safe with `standard_conforming_strings` on or off.
pub fn quote_literal(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    if text.contains('\\') {
        quoted.push('E');
    }
    quoted.push('\'');
    for character in text.chars() {
        if matches!(character, '\'' | '\\') {
            quoted.push(character);
        }
        quoted.push(character);
    }
    quoted.push('\'');
    quoted
}

/// A delimited identifier.
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gid::RouterId;
    use crate::proof::Proof;

    fn gid() -> Gid {
        Gid {
            cluster: ClusterId([0xab; 16]),
            router: RouterId(5),
            sequence: 1,
            pledge: Proof::new([0; 32]).pledge(),
            coordinating: ShardId(1),
        }
    }

    #[test]
    fn commands() {
        let name = "pgweave_abababababababababababababababab_0000000000000005_1_66687aadf862bd776c8fc18b8e9f8e20_1";
        let check = |command: Command, expected: String| assert_eq!(command.text(), expected);
        check(
            Command::Decide {
                name: Named {
                    gid: gid(),
                    proof: Proof::new([0; 32]),
                },
                participants: vec![(ShardId(2), Some(731)), (ShardId(3), None)],
            },
            format!(
                "{RAISE_DURABILITY}INSERT INTO pgweave.decision (gid, proof, participants, participant_xids) \
                 VALUES ('{name}', E'\\\\x{}', '{{2,3}}', '{{731,NULL}}'); COMMIT",
                "00".repeat(32)
            ),
        );
        check(
            Command::Prepare(gid().participant(ShardId(2))),
            "SELECT coalesce(pg_catalog.pg_current_xact_id_if_assigned(), '0'), \
             CASE WHEN pg_catalog.current_setting('synchronous_commit') IN ('off', 'local', 'remote_write') \
             THEN pg_catalog.set_config('synchronous_commit', 'on', true) END; "
                .to_owned()
                + &format!("PREPARE TRANSACTION '{name}_2'"),
        );
        check(
            Command::CommitPrepared(gid().participant(ShardId(2))),
            format!("COMMIT PREPARED '{name}_2'"),
        );
        check(
            Command::RollbackPrepared(gid().participant(ShardId(2))),
            format!("ROLLBACK PREPARED '{name}_2'"),
        );
        check(Command::Commit, "COMMIT".into());
        check(Command::Rollback, "ROLLBACK".into());
        assert_eq!(
            delete_decisions(&[gid(), gid()]),
            format!(
                "DELETE FROM pgweave.decision WHERE gid = ANY (ARRAY['{name}','{name}']::text[])"
            )
        );
    }

    #[test]
    fn quoting() {
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal("a\\'b"), "E'a\\\\''b'");
        assert_eq!(set_role("a\"; DROP"), "SET ROLE \"a\"\"; DROP\"");
        assert_eq!(set_role("Ä"), "SET ROLE \"Ä\"");
    }
}
