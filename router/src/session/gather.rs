//! A query over several shards, finished by one server: the rows of its tables are brought there, into temporary tables of a
//! connection of its own, and the client's query runs over them.
//!
//! The connection is of a pool of its own, because a session that waits for one holds connections to shards already; and
//! it is taken last, because whoever holds one waits for nobody. Its transaction is rolled back in the end: nothing of
//! it is to stay.

use std::sync::Arc;
use std::time::Instant;

use catalog::{Catalog, ShardId, quote_identifier};
use planner::{
    Access, Gather, GatherPlace, GatherTable, KeyRoute, Name, Pins, Route, Target, Types,
};

use super::bringing::Moved;
use super::combine::Told;
use super::copy_out::Around;
use super::extended::BindValues;
use super::links::Need;
use super::parts::shown;
use super::prepared::Statement;
use super::report::{Failure, Report};
use super::served::ServedRows;
use super::settings::push_literal;
use super::small::Held;
use super::work::Work;
use super::{Session, Step};
use crate::execute::Link;
use crate::wire::frontend;

/// Rows are sent on when this much has gathered.
pub(super) const SEND_AT_BYTES: usize = 64 * 1024;

/// Temporary tables with so many rows are analyzed.
const ANALYZE_AT_ROWS: u64 = 500;

/// A table that is brought, and the links that it comes from.
pub(super) type TableLinks = (usize, Vec<usize>);

/// How the client sent the query.
#[derive(Clone, Copy)]
pub(super) enum Sent<'a> {
    Simple,
    /// The statement, the Bind message, and what is wanted.
    Bound(&'a Arc<Statement>, &'a [u8], Wanted<'a>),
}

/// What is wanted of a bound query.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// So many rows at most, and no others later; 0: all.
    Rows(i32),
    /// To be opened only: rows are asked for later.
    Cursor(&'a Opening),
    /// As COPY writes them.
    Copy(Around<'a>),
}

/// How a query is opened on the server that finishes it.
pub(super) struct Opening {
    /// The portal's name there.
    pub name: String,
    /// What makes a cursor of the query that follows. `None`: it is bound.
    pub declare: Option<String>,
}

impl<'a> Sent<'a> {
    /// How it is to be opened, if that is all.
    pub fn opening(self) -> Option<&'a Opening> {
        match self {
            Self::Bound(_, _, Wanted::Cursor(opening)) => Some(opening),
            _ => None,
        }
    }

    /// Whether what it makes of the query takes parameters.
    pub fn takes_values(self) -> bool {
        match self {
            Self::Simple | Self::Bound(_, _, Wanted::Rows(_)) => true,
            Self::Bound(_, _, Wanted::Cursor(_) | Wanted::Copy(_)) => false,
        }
    }

    /// The types of the parameters, as far as the client has declared them.
    pub fn declared(&self) -> &[u32] {
        match self {
            Sent::Simple => &[],
            Sent::Bound(statement, ..) => &statement.parameter_types,
        }
    }
}

impl Session {
    /// Runs the query and leaves its answer in the client's output; if it is only to be opened, gives the connection that it
    /// is open on. `whole`: the text that was planned.
    pub(super) async fn run_gather(
        &mut self,
        gather: &Gather,
        whole: &str,
        offset: i32,
        sent: Sent<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step<Option<Link>> {
        if sent.opening().is_some() {
            self.check_merges_held()?;
        }
        let before = self.client.position();
        self.has_begun = false;
        let result = match &gather.combine {
            Some(combine) => {
                self.run_combine(gather, combine, whole, offset, sent, catalog)
                    .await
            }
            None => {
                self.bring_together(gather, whole, offset, sent, catalog)
                    .await
            }
        };
        // A part may have failed on what PostgreSQL would not have evaluated.
        if let (Err(Failure::Sent), Some(otherwise)) = (&result, &gather.otherwise)
            && self.block.is_none()
            && self.measures.is_none()
            && self.client.take_back_data_error(before)
        {
            // Only its connections matter.
            let _ = self.at_rest(result).await;
            let again = self.run_gather(otherwise, whole, offset, sent, catalog);
            return Box::pin(again).await;
        }
        if let (Err(Failure::Sent), Sent::Simple) = (&result, sent) {
            self.describe_failed(gather, before)?;
        }
        self.at_rest(result).await
    }

    /// Brings the tables' rows to one server, and has it run the client's query.
    async fn bring_together(
        &mut self,
        gather: &Gather,
        whole: &str,
        offset: i32,
        sent: Sent<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step<Option<Link>> {
        let began = Instant::now();
        if gather.in_place && self.block.is_some() {
            return Err(Report::error(
                "0A000",
                "a query over several shards that reads tables through functions is not supported within a transaction block",
            )
            .detail("It is finished over another connection, which does not see what the block has done.")
            .hint("Run it outside the block (and with pgweave.consistency = 'default'), or name the tables in the query itself.")
            .into());
        }
        let mut sources: Vec<(usize, Vec<ShardId>)> = Vec::new();
        for (index, table) in gather.tables.iter().enumerate() {
            if let Some(shards) = self.sources_of(table, gather, sent, catalog)? {
                sources.push((index, shards));
            }
        }
        let mut shards: Vec<ShardId> = sources.iter().flat_map(|(_, ids)| ids.clone()).collect();
        shards.push(self.finishing_shard(gather)?);
        if gather.asks_all_shards() {
            shards.extend(catalog.shards().iter().map(|shard| shard.id));
        }
        // In one order always, so that two sessions do not each wait for a connection that the other has.
        shards.sort();
        shards.dedup();
        let mut linked = Vec::with_capacity(shards.len());
        for shard in shards {
            let index = self.link(Need::shard(shard, Access::Read), catalog).await?;
            linked.push((shard, index));
        }
        let of_shard = |id: &ShardId| Some(linked.iter().find(|(shard, _)| shard == id)?.1);
        let links_of = |(table, shards): &(usize, Vec<ShardId>)| {
            Some((*table, shards.iter().map(of_shard).collect::<Option<_>>()?))
        };
        let sources: Option<Vec<TableLinks>> = sources.iter().map(links_of).collect();
        let sources = sources
            .ok_or_else(|| Report::error("XX000", "a shard to gather from is not linked"))?;
        let finishing = self.finishing_shard(gather)?;
        let timed = linked.iter().find(|(shard, _)| *shard == finishing);
        let timed = timed.map_or(0, |(_, index)| *index);
        let bring = async |session: &mut Session| {
            let (sources, linked) = (sources.as_slice(), linked.as_slice());
            session
                .bring_from(gather, (sources, linked), whole, offset, sent, catalog)
                .await
        };
        self.within_timeout(timed, began, bring).await
    }

    /// Brings rows from shards, those of each table from these links, and has one of all the links' servers run the query.
    async fn bring_from(
        &mut self,
        gather: &Gather,
        (sources, linked): (&[TableLinks], &[(ShardId, usize)]),
        whole: &str,
        offset: i32,
        sent: Sent<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step<Option<Link>> {
        let served = self.bring_served(gather, catalog).await?;
        self.learn_gathered(gather, whole, offset, sent, catalog, &served)
            .await?;
        // What opens a block is answered first: from here on only rows are expected.
        self.drain().await?;
        let types = gather.learned.types(sent.declared()).ok_or_else(|| {
            Report::error(
                "XX000",
                "a query is to be finished before its types are known",
            )
        })?;
        let gather = match (gather.has_parts(), &types.with_parts) {
            (false, _) => gather,
            (true, Some(Some(known))) => known,
            (true, _) => {
                let otherwise = gather.otherwise.as_ref().ok_or_else(|| {
                    Report::error("XX000", "a plan does not say how it does without its parts")
                })?;
                let run = self.bring_together(otherwise, whole, offset, sent, catalog);
                return Box::pin(run).await;
            }
        };
        if self.block.is_some() {
            self.check_own_locks(gather).await?;
        }
        let mut work = Work {
            gather,
            whole,
            types: &types,
            keyless: types.over_subqueries == Some(true),
            sources,
            linked,
            catalog,
            served: &served,
            held: Vec::new(),
            moved: Moved::default(),
        };
        let finishing = self.finishing_shard(gather)?;
        let here = linked.iter().find(|(shard, _)| *shard == finishing);
        if let Some((_, here)) = here
            && sent.takes_values()
            && self.finish_small(&mut work, *here, sent).await?
        {
            return Ok(None);
        }
        let mut merge = self.merge_link(gather, catalog).await?;
        let result = match self.open_merge(&mut merge).await {
            Ok(()) => self.gather_on(&mut merge, work, sent).await,
            failed => failed,
        };
        let kept = self.keep_or_close(merge, sent, result.is_ok()).await;
        result.map(|()| kept)
    }

    /// Has a server judge the client's own text, once: errors name places in it, and parameters get their types.
    pub(super) async fn learn_gathered(
        &mut self,
        gather: &Gather,
        whole: &str,
        offset: i32,
        sent: Sent<'_>,
        catalog: &Arc<Catalog>,
        served: &ServedRows,
    ) -> Step {
        let known = gather.learned.types(sent.declared());
        // In a block the question would fail the block if the answer is no.
        let may_ask = self.block.is_none();
        if let Some(known) = &known
            && (known.over_subqueries.is_some() || !may_ask)
            && (known.with_parts.is_some() || !gather.has_parts())
        {
            return Ok(());
        }
        let target = Target::Shard(self.finishing_shard(gather)?);
        let need = Need {
            target,
            access: Access::LockingRead,
            no_block: false,
            pins: Pins::NONE,
        };
        let index = self.link(need, catalog).await?;
        let judged = match gather.is_known_to_servers() {
            true => None,
            false => served.judged(gather, whole),
        };
        let own = whole.get(gather.statement.clone()).unwrap_or(whole);
        let text = judged.as_deref().unwrap_or(own);
        let mut learned = match known {
            Some(known) => Types::clone(&known),
            None => {
                self.learn_types(index, (text, offset, false), text, &[], sent)
                    .await?
            }
        };
        if gather.has_parts() && learned.with_parts.is_none() {
            learned.with_parts = Some(self.learn_parts(index, gather, &learned).await?);
        }
        let with_parts = learned.with_parts.clone().flatten();
        let gather_known = with_parts.as_deref().unwrap_or(gather);
        if may_ask {
            self.learn_over_subqueries(index, gather_known, whole, &mut learned)
                .await?;
        }
        gather.learned.note(learned);
        Ok(())
    }

    /// One of the shards whose servers can finish the query, and are to: the same for all queries of a session.
    pub(super) fn finishing_shard(&self, gather: &Gather) -> Step<ShardId> {
        let chosen = &self.router.config.gather.servers;
        let process_id = self.handle.process_id;
        finishing_server(gather, chosen, process_id, &self.catalog()).ok_or_else(|| {
            Report::error("XX000", "a query is to be gathered, but on no server").into()
        })
    }

    /// The shards that a table's rows are brought from; `None`: it is read where it is.
    fn sources_of(
        &self,
        table: &GatherTable,
        gather: &Gather,
        sent: Sent<'_>,
        catalog: &Catalog,
    ) -> Step<Option<Vec<ShardId>>> {
        // Within a block another connection does not see what the block has done.
        let in_block = self.block.is_some();
        Ok(match table.place {
            GatherPlace::Group(group) => {
                if let Some(keys) = &table.keys
                    && let Some(shards) = shards_of_keys(keys, sent, catalog)
                {
                    return Ok(Some(shards));
                }
                let group = catalog.group(group).ok_or_else(|| {
                    Report::error(
                        "XX000",
                        "a plan names a colocation group that the catalog does not have",
                    )
                })?;
                Some(group.map.shards().into_iter().collect())
            }
            GatherPlace::Shard(shard) => in_block.then(|| vec![shard]),
            GatherPlace::Everywhere if in_block => {
                let linked = self.links.iter().find(|link| !link.replica);
                let shard = match linked {
                    Some(link) => link.shard,
                    None => self.finishing_shard(gather)?,
                };
                Some(vec![shard])
            }
            GatherPlace::Everywhere => None,
        })
    }

    /// Copies are made like the tables themselves, by another connection: it would wait for ever for an exclusive lock that
    /// the client's own block holds, and no server could see why.
    pub(super) async fn check_own_locks(&mut self, gather: &Gather) -> Step {
        let shard = self.finishing_shard(gather)?;
        let tables = gather.tables.iter().filter(|table| table.part.is_none());
        let tables: Vec<String> = tables
            .map(|table| regclass(&table.name))
            .chain(gather.also_locked.iter().map(regclass))
            .collect();
        // What partial aggregates are taken of is not told apart.
        let any = gather.combine.is_some() || gather.has_parts();
        let tables = format!("ARRAY[{}]::oid[]", tables.join(", "));
        let sql = format!(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l \
              WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' \
                AND ({any} OR l.relation = ANY ({tables}) \
                     OR l.relation IN (SELECT indexrelid FROM pg_catalog.pg_index WHERE indrelid = ANY ({tables}))))"
        );
        let index = self
            .links
            .iter()
            .position(|link| link.shard == shard && !link.replica);
        let Some(index) = index else {
            return Ok(());
        };
        if self.query_value(index, &sql).await? != "t" {
            return Ok(());
        }
        Err(Report::error(
            "0A000",
            "a query over several shards is not supported after this transaction has altered, truncated or exclusively locked one of its tables",
        )
        .hint("Commit first, or name the shard key in the query, so that one shard can answer it.")
        .into())
    }

    async fn gather_on(&mut self, merge: &mut Link, mut work: Work<'_>, sent: Sent<'_>) -> Step {
        let gather = work.gather;
        let indexes = match work.keeps_indexes() {
            true => " INCLUDING INDEXES",
            false => "",
        };
        let mut make = String::new();
        for (index, _) in work.sources {
            let table = &gather.tables[*index];
            if let Some(part) = &table.part {
                let sql = (part.sql.as_str(), false);
                self.make_table_of(merge, &relation(*index), sql, work.types, None, sent)
                    .await?;
                continue;
            }
            make.push_str(&match work.is_whole(table) {
                true => format!(
                    "CREATE TEMP TABLE {} (LIKE {}{indexes}) ON COMMIT DROP;",
                    relation(*index),
                    qualified(&table.name)
                ),
                false => format!(
                    "CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA;",
                    relation(*index),
                    column_list(work.columns(table)),
                    qualified(&table.name)
                ),
            });
        }
        self.ask_merge(merge, &make).await?;
        self.make_sizes(merge, work.served).await?;
        self.make_views(merge, gather, |of| work.instead(of, relation))
            .await?;
        let mut analyze = Vec::new();
        let mut indexes = String::new();
        let mut moved = Moved::default();
        for (at, (index, links)) in work.sources.iter().enumerate() {
            let table = &gather.tables[*index];
            let columns = work.columns(table);
            let before = moved.rows;
            if let Some(measures) = &mut self.measures {
                measures.step = *index;
            }
            if columns.iter().all(|(_, oid)| is_exact_in_binary(*oid)) {
                if at == work.held.len() {
                    let sources = self.ask_for_rows(&work.asking(at)?, sent).await?;
                    work.held.push((Held::default(), sources));
                }
                let (held, sources) = &mut work.held[at];
                let copy = format!(
                    "COPY {} ({}) FROM STDIN (FORMAT binary)",
                    relation(*index),
                    column_list(columns)
                );
                self.copy_rows(merge, &copy, (sources, held), &shown(table), &mut moved)
                    .await?;
            } else {
                // Later tables cannot be narrowed by it.
                work.held.push((Held::default(), Vec::new()));
                self.bring(merge, *index, (table, columns), links, &mut moved)
                    .await?;
            }
            // Of few rows a server plans well enough without.
            if moved.rows - before >= ANALYZE_AT_ROWS {
                analyze.push(relation(*index));
                for column in &table.looked_up {
                    let (name, column) = (relation(*index), quote_identifier(column));
                    indexes.push_str(&format!("CREATE INDEX ON {name} ({column});"));
                }
            }
        }
        if !analyze.is_empty() {
            let analyze = analyze.join(", ");
            self.ask_merge(merge, &format!("{indexes}ANALYZE {analyze}"))
                .await?;
        }
        let sql = work.finishing(|of| work.instead(of, relation))?;
        self.finish_on(merge, &sql, work.types, Told::default(), sent)
            .await
    }
}

/// Of the servers that can finish a query one of those that are chosen, or of all if none of these can: sessions take turns.
pub(super) fn finishing_server(
    gather: &Gather,
    chosen: &[String],
    process_id: u32,
    catalog: &Catalog,
) -> Option<ShardId> {
    let is_chosen = |id: &&ShardId| {
        let shard = catalog.shard(**id);
        shard.is_some_and(|shard| chosen.contains(&shard.name))
    };
    let mut servers: Vec<&ShardId> = gather.servers.iter().filter(is_chosen).collect();
    if servers.is_empty() {
        servers.extend(&gather.servers);
    }
    let at = process_id as usize % servers.len().max(1);
    servers.get(at).map(|id| **id)
}

/// The shards that keys lead to with the values of this execution. `None`: a server has to judge them.
fn shards_of_keys(keys: &KeyRoute, sent: Sent<'_>, catalog: &Catalog) -> Option<Vec<ShardId>> {
    let route = Route::Key(keys.clone());
    match sent {
        Sent::Simple => planner::resolve_all(&route, catalog, &()).ok(),
        Sent::Bound(statement, message, _) => {
            let bind = frontend::parse_bind(message.get(5..)?).ok()?;
            let values = BindValues {
                types: &statement.parameter_types,
                bind: &bind,
            };
            planner::resolve_all(&route, catalog, &values).ok()
        }
    }
}

/// The temporary table of the nth table.
pub(super) fn relation(index: usize) -> String {
    format!("pg_temp.pgweave_{}", index + 1)
}

pub(super) fn qualified(name: &Name) -> String {
    format!(
        "{}.{}",
        quote_identifier(&name.schema),
        quote_identifier(&name.name)
    )
}

/// What gives a relation's number, as SQL.
pub(super) fn regclass(name: &Name) -> String {
    let mut sql = "pg_catalog.to_regclass(".to_owned();
    push_literal(&mut sql, &qualified(name));
    sql.push(')');
    sql
}

pub(super) fn column_list(columns: &[(String, u32)]) -> String {
    let columns: Vec<String> = columns
        .iter()
        .map(|(name, _)| quote_identifier(name).to_string())
        .collect();
    columns.join(", ")
}

/// `FirstNormalObjectId` of `src/include/access/transam.h`.
const FIRST_OF_USERS: u32 = 16_384;

/// Whether values of the built-in type are numbers of objects, which each server has its own of.
pub(super) fn names_object(oid: u32) -> bool {
    const RECORD: u32 = 2249;
    oid < FIRST_OF_USERS && oid != RECORD && !is_exact_in_binary(oid)
}

/// Whether values of the type are the same bytes on all servers: built-in types, but for those that name objects by numbers.
pub(super) fn is_exact_in_binary(oid: u32) -> bool {
    // regproc, regprocedure, regoper, regoperator, regclass, regtype, regrole, regnamespace, regconfig, regdictionary,
    // regcollation, and arrays of them; record.
    const BY_NUMBER: [u32; 23] = [
        24, 2202, 2203, 2204, 2205, 2206, 4096, 4089, 3734, 3769, 4191, 1008, 2207, 2208, 2209,
        2210, 2211, 4097, 4090, 3735, 3770, 4192, 2249,
    ];
    oid < FIRST_OF_USERS && !BY_NUMBER.contains(&oid)
}
