//! Are these servers fit to be shards? `pgweave check`, and the second half of `pgweave init`.
//!
//! Entry point: [`check()`]. Nothing is changed but for a transaction that is prepared and at once rolled back. Every finding says
//! what to do about it.

use std::fmt;

use catalog::Server;

use super::connection::Connector;
use super::init::InitRequest;
use super::probe::{Probe, probe};

/// Servers of these major versions are supported.
const VERSIONS: std::ops::RangeInclusive<u32> = 13..=18;

/// Prepared transactions last for milliseconds, so more than this are rarely needed at once.
const ENOUGH_PREPARED: u32 = 100;

/// Clocks further apart than this are reported.
const CLOCK_LIMIT_MS: i64 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Works, but not well, or not for long.
    Warning,
    /// Must be changed first.
    Error,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// An address, with the shard's name.
    pub server: String,
    pub what: String,
    /// What to do, with the command where there is one.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(
            formatter,
            "{severity}: {}: {}\n  remedy: {}",
            self.server, self.what, self.remedy
        )
    }
}

/// One server to look at.
struct Subject<'a> {
    label: String,
    shard: Option<&'a str>,
    server: &'a Server,
    is_replica: bool,
}

/// Examines the home and all shards. An empty list means that all is well.
pub async fn check(request: &InitRequest) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut probes: Vec<(Subject<'_>, Probe)> = Vec::new();
    for subject in subjects(request) {
        match probe(&request.connector, subject.server).await {
            Ok(probe) => {
                alone(&subject, &probe, &request.connector, &mut findings);
                probes.push((subject, probe));
            }
            Err(error) => findings.push(Finding {
                severity: Severity::Error,
                server: subject.label.clone(),
                what: error.to_string(),
                remedy: "start the server, or correct its address, account or pg_hba.conf"
                    .to_owned(),
            }),
        }
    }
    together(&probes, &mut findings);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

fn subjects(request: &InitRequest) -> Vec<Subject<'_>> {
    let mut subjects = Vec::new();
    for shard in &request.shards {
        let roles = std::iter::once((&shard.primary, false))
            .chain(shard.replicas.iter().map(|replica| (replica, true)));
        for (server, is_replica) in roles {
            let role = if is_replica { "replica" } else { "primary" };
            let label = format!("{server} ({role} of shard {})", shard.name);
            subjects.push(Subject {
                label,
                shard: Some(&shard.name),
                server,
                is_replica,
            });
        }
    }
    if !subjects
        .iter()
        .any(|subject| *subject.server == request.home)
    {
        subjects.push(Subject {
            label: format!("{} (catalog)", request.home),
            shard: None,
            server: &request.home,
            is_replica: false,
        });
    }
    subjects
}

/// What can be said of one server by itself.
fn alone(subject: &Subject<'_>, probe: &Probe, connector: &Connector, findings: &mut Vec<Finding>) {
    let mut report = |severity, what: String, remedy: String| {
        findings.push(Finding {
            severity,
            server: subject.label.clone(),
            what,
            remedy,
        });
    };
    let major = probe.version / 10_000;
    if !VERSIONS.contains(&major) {
        report(
            Severity::Error,
            format!("PostgreSQL {major} is not supported"),
            format!(
                "use a version from {} to {}",
                VERSIONS.start(),
                VERSIONS.end()
            ),
        );
    }
    if probe.max_prepared_transactions == 0 {
        report(
            Severity::Error,
            "max_prepared_transactions is 0: no transaction over several shards can commit"
                .to_owned(),
            format!(
                "run ALTER SYSTEM SET max_prepared_transactions = {}; and restart the server (replicas first raise, last lower)",
                probe.max_connections
            ),
        );
    } else if probe.max_prepared_transactions < probe.max_connections.min(ENOUGH_PREPARED) {
        report(
            Severity::Warning,
            format!(
                "max_prepared_transactions is {}, below max_connections ({}): transactions over several shards may be refused under load",
                probe.max_prepared_transactions, probe.max_connections
            ),
            format!(
                "run ALTER SYSTEM SET max_prepared_transactions = {}; and restart the server",
                probe.max_connections
            ),
        );
    }
    if probe.wal_level != "logical" {
        report(
            Severity::Warning,
            format!(
                "wal_level is {}: rows cannot be moved to other shards under load",
                probe.wal_level
            ),
            "run ALTER SYSTEM SET wal_level = 'logical'; and restart the server".to_owned(),
        );
    }
    if subject.is_replica != probe.in_recovery {
        let (what, remedy) = if subject.is_replica {
            (
                "is listed as a replica, but is no standby",
                "correct the list, or make it a standby with pg_basebackup -R",
            )
        } else {
            (
                "is listed as a primary, but is a standby",
                "correct the list, or promote it with pg_ctl promote",
            )
        };
        report(Severity::Error, what.to_owned(), remedy.to_owned());
    }
    if !probe.in_recovery {
        privileges(probe, connector, &mut report);
    }
    if let Some((recorded, actual)) = &probe.outdated_collation {
        report(
            Severity::Warning,
            format!(
                "the database was made with collation version {recorded}, the system now has {actual}: indexes on text may be wrong"
            ),
            "run REINDEX DATABASE, then ALTER DATABASE … REFRESH COLLATION VERSION".to_owned(),
        );
    }
}

fn privileges(
    probe: &Probe,
    connector: &Connector,
    report: &mut impl FnMut(Severity, String, String),
) {
    let user = &connector.user;
    if !probe.may_create {
        report(
            Severity::Error,
            format!(
                "role {user} may not create schemas in database {}",
                probe.database
            ),
            format!(
                "run GRANT CREATE ON DATABASE {} TO {user};",
                catalog::quote_identifier(&probe.database)
            ),
        );
    }
    if let Some(owner) = &probe.foreign_owner {
        report(
            Severity::Error,
            format!(
                "schema pgweave belongs to {owner}, and role {user} is not a member of that role"
            ),
            format!("run GRANT {} TO {user};", catalog::quote_identifier(owner)),
        );
    }
    if let Some(reason) = &probe.cannot_prepare {
        report(
            Severity::Error,
            format!("PREPARE TRANSACTION fails: {reason}"),
            "raise max_prepared_transactions, or finish what SELECT * FROM pg_prepared_xacts; lists".to_owned(),
        );
    }
    if !probe.is_superuser && !probe.may_see_all {
        report(
            Severity::Warning,
            format!(
                "role {user} sees only its own sessions: deadlocks over several shards cannot be found"
            ),
            format!("run GRANT pg_read_all_stats TO {user};"),
        );
    }
    if !probe.is_superuser && !probe.may_replicate {
        report(
            Severity::Warning,
            format!(
                "role {user} may not replicate: rows cannot be moved to other shards under load"
            ),
            format!("run ALTER ROLE {user} REPLICATION;"),
        );
    }
}

/// What shows only when servers are compared.
fn together(probes: &[(Subject<'_>, Probe)], findings: &mut Vec<Finding>) {
    let Some((first, first_probe)) = probes.first() else {
        return;
    };
    for (subject, probe) in &probes[1..] {
        for (name, here, there) in [
            ("encoding", &probe.encoding, &first_probe.encoding),
            ("collation", &probe.collate, &first_probe.collate),
            ("character type", &probe.ctype, &first_probe.ctype),
            ("locale provider", &probe.provider, &first_probe.provider),
            ("locale of the provider", &probe.locale, &first_probe.locale),
        ] {
            if here != there {
                findings.push(Finding {
                    severity: Severity::Error,
                    server: subject.label.clone(),
                    what: format!("{name} is {here}, that of {} is {there}", first.label),
                    remedy: "create the database anew, from template0, with equal ENCODING, LC_COLLATE, LC_CTYPE and LOCALE_PROVIDER"
                        .to_owned(),
                });
            }
        }
        if let (Some(here), Some(there)) =
            (&probe.collation_version, &first_probe.collation_version)
            && here != there
        {
            findings.push(Finding {
                severity: Severity::Warning,
                server: subject.label.clone(),
                what: format!("the collation has version {here}, that of {} has {there}: text may sort differently", first.label),
                remedy: "run servers on systems with the same C library or ICU version".to_owned(),
            });
        }
        let apart = (probe.clock_offset_ms - first_probe.clock_offset_ms).abs()
            - probe.round_trip_ms
            - first_probe.round_trip_ms;
        if apart > CLOCK_LIMIT_MS {
            findings.push(Finding {
                severity: Severity::Warning,
                server: subject.label.clone(),
                what: format!(
                    "the clock differs by {apart} ms from that of {}",
                    first.label
                ),
                remedy: "synchronize the clocks with NTP, for instance by chrony".to_owned(),
            });
        }
    }
    same_database(probes, findings);
    standbys(probes, findings);
}

/// Two shards that are one database under two addresses.
fn same_database(probes: &[(Subject<'_>, Probe)], findings: &mut Vec<Finding>) {
    for (index, (subject, probe)) in probes.iter().enumerate() {
        let twin = probes[..index].iter().find(|(other, other_probe)| {
            other.shard.is_some()
                && subject.shard.is_some()
                && other.shard != subject.shard
                && probe.identity == other_probe.identity
        });
        if let Some((other, _)) = twin {
            findings.push(Finding {
                severity: Severity::Error,
                server: subject.label.clone(),
                what: format!("is the same database as {}", other.label),
                remedy: "give each shard a database of its own".to_owned(),
            });
        }
    }
}

/// A replica that follows somebody else.
fn standbys(probes: &[(Subject<'_>, Probe)], findings: &mut Vec<Finding>) {
    for (subject, probe) in probes.iter().filter(|(subject, _)| subject.is_replica) {
        let primary = probes
            .iter()
            .find(|(other, _)| other.shard == subject.shard && !other.is_replica);
        let Some((primary, primary_probe)) = primary else {
            continue;
        };
        const REMEDY: &str =
            "correct the list, or make it a standby of that primary with pg_basebackup -R";
        let foreign = probe.member.as_ref().filter(|name| {
            probe.in_recovery && probe.member != primary_probe.member && !name.is_empty()
        });
        let differs = match (probe.system_identifier, primary_probe.system_identifier) {
            (Some(here), Some(there)) => here != there,
            _ => false,
        };
        let (severity, what, remedy) = if let Some(name) = foreign {
            (
                Severity::Error,
                format!("is a copy of shard {name}"),
                REMEDY,
            )
        } else if differs {
            let what = format!(
                "is no copy of {}: the system identifiers differ",
                primary.label
            );
            (Severity::Error, what, REMEDY)
        } else if probe.in_recovery && probe.receives_wal == Some(false) {
            let what = "is not receiving WAL from its primary".to_owned();
            (
                Severity::Warning,
                what,
                "look at primary_conninfo and the server's log",
            )
        } else {
            continue;
        };
        findings.push(Finding {
            severity,
            server: subject.label.clone(),
            what,
            remedy: remedy.to_owned(),
        });
    }
}
