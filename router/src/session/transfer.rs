//! INSERT of a query's rows that are to be stored elsewhere than they are read: the query runs as any other, its rows are kept by
//! the router within the limits of `gather`, and then go to the COPY on each row's shard.
//!
//! Entry point: [`Session::run_transfer`]. Reading has ended before storing begins, because both use the same connections, and because an
//! INSERT does not see its own rows. Values travel as text, which is the same value again in the column that it is for: other
//! pairs of types are refused.

use std::sync::Arc;

use catalog::Catalog;
use planner::{Access, LoadTarget, Plan, Planned, Taken, Transfer, TransferSource, Types};

use super::block::Block;
use super::bringing::Moved;
use super::client::Collected;
use super::extended::BindValues;
use super::gather::Sent;
use super::links::Need;
use super::load::Loading;
use super::prepared::{ServerName, Statement};
use super::report::{Failure, Report};
use super::settings::push_literal;
use super::simple::Part;
use super::{Session, Step};
use crate::execute::LinkError;
use crate::execute::expect::Expect;
use crate::merge::row::Row;
use crate::wire::{backend, encode, frontend};

/// Rows for a shard are sent when so much has gathered.
const SEND_AT_BYTES: usize = 64 * 1024;

/// So much of a query's rows is kept.
const KEPT_BYTES: u64 = 256 << 20;

/// The first `pg_type.oid` of types that users have made.
const FIRST_OF_USERS: u32 = 16384;

/// A query's rows, as they came.
#[derive(Clone, Copy)]
pub(super) struct Storing<'a> {
    pub rows: &'a [u8],
    pub columns: usize,
}

impl Session {
    /// Runs the INSERT and leaves its answer in the client's output. `whole`: the text that was planned.
    pub(super) async fn run_transfer(
        &mut self,
        transfer: &Transfer,
        whole: &str,
        offset: i32,
        sent: Sent<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step {
        self.drain().await?;
        let own_block = self.block.is_none();
        if own_block {
            self.open_block(Block::implicit());
        }
        let result = self
            .transfer_rows(transfer, whole, offset, sent, catalog)
            .await;
        let rows = self.at_rest(result).await?;
        if own_block {
            self.end_implicit_block().await?;
        }
        encode::command_complete(
            &mut self.client.out,
            &match transfer.tag.0 {
                "INSERT" => format!("INSERT 0 {rows}"),
                tag => format!("{tag} {rows}"),
            },
        );
        Ok(())
    }

    async fn transfer_rows(
        &mut self,
        transfer: &Transfer,
        whole: &str,
        offset: i32,
        sent: Sent<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step<u64> {
        let own = whole.get(transfer.statement.clone()).unwrap_or(whole);
        let (query, before) = match &transfer.source {
            TransferSource::Query(range) => (
                own.get(range.clone()).unwrap_or_default(),
                own.get(..range.start).unwrap_or_default(),
            ),
            TransferSource::Taken(taken) => (taken.sql.as_str(), ""),
        };
        let query_offset = offset + i32::try_from(before.chars().count()).unwrap_or(0);
        let types = self
            .judge_transfer(transfer, (own, offset), query, sent, catalog)
            .await?;
        let planned = match &transfer.source {
            TransferSource::Query(_) => {
                let manual = self.manual_shard(catalog)?;
                self.router
                    .plans
                    .plan_statement(query, &self.context(catalog, manual))?
                    .ok_or_else(|| Report::error("XX000", "the query of an INSERT is empty"))?
            }
            TransferSource::Taken(taken) => {
                self.check_movable(&transfer.table, taken, catalog).await?;
                Planned {
                    part: None,
                    plan: Arc::new(Plan::Spread(taken.spread.clone())),
                    rest: None,
                }
            }
        };
        self.collect_stored_rows();
        let result = match sent {
            Sent::Simple => {
                let part = Part {
                    text: query,
                    whole: query,
                    message: None,
                    ready: false,
                    offset: query_offset,
                    bound: None,
                };
                Box::pin(self.run_simple(&planned, part, catalog))
                    .await
                    .map(drop)
            }
            Sent::Bound(statement, message, _) => {
                self.run_bound_query(statement, &types, query, planned, message, catalog)
                    .await
            }
        };
        let collected = self.client.collected_rows();
        result?;
        self.check_stored_rows(&collected)?;
        let mut loading = self
            .loading(&transfer.load, &transfer.copy, catalog)
            .await?;
        let result = self
            .store_rows(
                Storing {
                    rows: &collected.messages,
                    columns: transfer.columns.len(),
                },
                &mut loading,
                catalog,
            )
            .await;
        self.stop_parts(&loading, &result);
        result
    }

    /// Rows are moved by DELETE and COPY: that must come to the same as an UPDATE.
    async fn check_movable(&mut self, name: &str, taken: &Taken, catalog: &Arc<Catalog>) -> Step {
        let mut table = String::new();
        push_literal(&mut table, name);
        let shards = self.shards_of_group(None, taken.spread.group, catalog)?;
        let Some(shard) = shards.first() else {
            return Ok(());
        };
        let index = self
            .link(Need::shard(*shard, Access::LockingRead), catalog)
            .await?;
        self.drain().await?;
        let sql = format!(
            "SELECT CASE \
             WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = t.oid AND NOT tgisinternal AND tgenabled <> 'D') THEN 'triggers' \
             WHEN t.relhasrules THEN 'rules' \
             WHEN t.relrowsecurity THEN 'row security policies' \
             WHEN EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhparent = t.oid) THEN 'partitions or inheriting tables' \
             WHEN EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE confrelid = t.oid AND contype = 'f' AND (confdeltype NOT IN ('a', 'r') OR confupdtype NOT IN ('a', 'r'))) THEN 'foreign keys to it that act on changes' \
             WHEN EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = t.oid AND attgenerated <> '') THEN 'generated columns' \
             ELSE '' END FROM pg_catalog.pg_class t WHERE t.oid = {table}::pg_catalog.regclass"
        );
        let what = self.query_value(index, &sql).await?;
        if what.is_empty() {
            return Ok(());
        }
        Err(Report::error(
            "0A000",
            format!("UPDATE of the shard key of {name}, which has {what}"),
        )
        .detail("Rows that move to another shard are deleted and inserted, which would not come to the same.")
        .hint("Delete the rows and insert them with their new keys.")
        .into())
    }

    /// Has a server judge the statement, and says of which types the query's columns and the parameters are.
    async fn judge_transfer(
        &mut self,
        transfer: &Transfer,
        own: (&str, i32),
        query: &str,
        sent: Sent<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step<Arc<Types>> {
        let types = match transfer.learned.types(sent.declared()) {
            Some(types) => types,
            None => {
                let statement = Plan::Transfer(Box::new(transfer.clone()));
                let need = self
                    .describing_need_of(&statement, catalog)
                    .ok_or_else(|| {
                        Report::error("XX000", "no server can judge an INSERT over several shards")
                    })?;
                let index = self.link(need, catalog).await?;
                self.drain().await?;
                let (text, offset) = own;
                let found = self
                    .learn_types(index, (text, offset, true), query, &[], sent)
                    .await?;
                self.check_own_types(index, transfer, &found).await?;
                transfer.learned.note(found)
            }
        };
        let pairs = types.columns.iter().zip(&transfer.columns);
        for (from, (name, to)) in pairs {
            if !stored_alike(*from, *to) {
                return Err(other_type(name).into());
            }
        }
        if types.columns.len() != transfer.columns.len() {
            return Err(Report::error(
                "0A000",
                "INSERT over several shards of a query with another number of columns than are stored",
            )
            .hint("Name the columns in the INSERT.")
            .into());
        }
        if !types.columns.iter().all(|oid| is_written_alike(*oid)) {
            self.check_exact_texts(transfer, catalog).await?;
        }
        Ok(types)
    }

    /// Types that users have made are stored as what they are, not as another type that reads their text otherwise. `types`: as the
    /// server of this link has them.
    async fn check_own_types(&mut self, index: usize, transfer: &Transfer, types: &Types) -> Step {
        let pairs = types.columns.iter().zip(&transfer.columns);
        for (from, (name, to)) in pairs {
            if *from < FIRST_OF_USERS || *to < FIRST_OF_USERS {
                continue;
            }
            let (mut table, mut column) = (String::new(), String::new());
            push_literal(&mut table, &transfer.table);
            push_literal(&mut column, name);
            // A domain is described as what it is made of.
            let sql = format!(
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
                   WHERE a.attrelid = {table}::pg_catalog.regclass AND a.attname = {column} \
                     AND {from} IN (t.oid, t.typbasetype))"
            );
            if self.query_value(index, &sql).await? != "t" {
                return Err(other_type(name).into());
            }
        }
        Ok(())
    }

    /// The texts of values must be the values again, whatever the session or its role has set.
    async fn check_exact_texts(&mut self, transfer: &Transfer, catalog: &Arc<Catalog>) -> Step {
        let LoadTarget::Rows { group, .. } = &transfer.load.target else {
            return Ok(());
        };
        let shards = self.shards_of_group(None, *group, catalog)?;
        let Some(shard) = shards.first() else {
            return Ok(());
        };
        let need = Need::shard(*shard, Access::LockingRead);
        let index = self.link(need, catalog).await?;
        self.check_exact_settings(index).await
    }

    /// Refuses settings by which the text of a value may be another value's.
    pub(super) async fn check_exact_settings(&mut self, index: usize) -> Step {
        self.drain().await?;
        let sql = "SELECT pg_catalog.concat_ws(' and ', \
                     CASE WHEN pg_catalog.current_setting('datestyle') NOT LIKE 'ISO%' THEN 'DateStyle' END, \
                     CASE WHEN pg_catalog.current_setting('intervalstyle') <> 'postgres' THEN 'IntervalStyle' END, \
                     CASE WHEN pg_catalog.current_setting('extra_float_digits')::pg_catalog.int4 < 1 THEN 'extra_float_digits' END)";
        let lossy = self.query_value(index, sql).await?;
        if lossy.is_empty() {
            return Ok(());
        }
        Err(Report::error(
            "0A000",
            format!("rows are moved between shards by values whose text {lossy} may change"),
        )
        .hint("SET datestyle TO 'ISO', intervalstyle TO 'postgres' and extra_float_digits TO 1 for this statement.")
        .into())
    }

    /// Runs the query with the client's values, all columns as text.
    async fn run_bound_query(
        &mut self,
        statement: &Arc<Statement>,
        types: &Types,
        query: &str,
        planned: Planned,
        message: &[u8],
        catalog: &Arc<Catalog>,
    ) -> Step {
        let client = frontend::parse_bind(&message[5..])?;
        let message = frontend::bind_with_format(Some(&client), 0);
        let mut parameter_types = types.parameters.clone();
        parameter_types = super::combine::portable_types(&parameter_types, query);
        let statement = Arc::new(Statement {
            key: self.router.statements.next_key(false),
            sql: query.into(),
            parameter_types: parameter_types.as_slice().into(),
            shape: Default::default(),
            planned: Some(Arc::new(planned)),
            promised: None,
            ..Statement::clone(statement)
        });
        let need = match statement.plan() {
            Some(Plan::Single(single)) => {
                let client = frontend::parse_bind(&message[5..])?;
                let values = BindValues {
                    types: &statement.parameter_types,
                    bind: &client,
                };
                self.need_of(single, &values, catalog).ok()
            }
            _ => None,
        };
        let Some(need) = need else {
            let several = self.for_several(statement, &message, catalog)?;
            return Box::pin(self.execute_local(&several, &message, 0)).await;
        };
        let index = self.link(need, catalog).await?;
        self.drain().await?;
        self.ensure_known(index, &statement, false).await?;
        let link = &mut self.links[index];
        encode::sync(link.backend.out());
        link.expects.push_back(Expect::Sync { forward: false });
        self.exchange(index).await?;
        let bind = frontend::parse_bind(&message[5..])?;
        let link = &mut self.links[index];
        link.captured.clear();
        let out = link.backend.out();
        frontend::rewrite_bind(out, &bind, ServerName::of(statement.key).as_bytes());
        encode::execute(out, b"", 0);
        encode::sync(out);
        link.expects.push_back(Expect::Captured);
        self.exchange(index).await?;
        let captured = std::mem::take(&mut self.links[index].captured);
        self.own_error(index)?;
        for (tag, body) in backend::messages(&captured) {
            if tag == b'D' || tag == b'N' {
                encode::message_as_it_is(&mut self.client.out, tag, body);
            }
        }
        self.client
            .flush()
            .await
            .map_err(|error| LinkError::Client(error).into())
    }

    /// From now on rows are kept.
    pub(super) fn collect_stored_rows(&mut self) {
        self.client.collect_rows(KEPT_BYTES);
    }

    /// Whether there were more than may be kept or moved.
    pub(super) fn check_stored_rows(&self, collected: &Collected) -> Step {
        let moved = Moved {
            bytes: collected.bytes,
            rows: collected.rows,
        };
        self.check_moved("the rows that are to be stored", &moved)?;
        if moved.bytes > KEPT_BYTES {
            return Err(Report::error(
                "53400",
                format!("the rows that are to be stored are longer than {KEPT_BYTES} bytes"),
            )
            .hint("Store them in several statements, or COPY them.")
            .into());
        }
        Ok(())
    }

    /// Sends each row to its shard's COPY.
    pub(super) async fn store_rows(
        &mut self,
        storing: Storing<'_>,
        loading: &mut Loading<'_>,
        catalog: &Catalog,
    ) -> Step<u64> {
        let unread = |_| Failure::from(Report::error("XX000", "a query's row cannot be read"));
        let mut line = Vec::new();
        for (_, body) in backend::messages(storing.rows).filter(|(tag, _)| *tag == b'D') {
            let row = Row::new(body).map_err(unread)?;
            line.clear();
            for column in 0..storing.columns {
                if column > 0 {
                    line.push(b'\t');
                }
                let column = u16::try_from(column).unwrap_or(u16::MAX);
                push_field(&mut line, row.cell(column).map_err(unread)?);
            }
            line.push(b'\n');
            let at = loading.place_of(
                |position| {
                    let position = u16::try_from(position).unwrap_or(u16::MAX);
                    row.cell(position).ok().flatten()
                },
                catalog,
            )?;
            if loading.add(at, &line) >= SEND_AT_BYTES {
                self.send_part(loading, at).await?;
            }
        }
        self.finish_parts(loading).await
    }
}

/// A value of COPY's text format.
fn push_field(line: &mut Vec<u8>, value: Option<&[u8]>) {
    let Some(value) = value else {
        line.extend_from_slice(b"\\N");
        return;
    };
    for byte in value {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\t' => line.extend_from_slice(b"\\t"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            other => line.push(*other),
        }
    }
}

fn other_type(column: &str) -> Report {
    Report::error(
        "0A000",
        format!("INSERT over several shards of a query whose type for column {column} is another than the column's"),
    )
    .hint(format!("Cast the value for {column} to the column's type in the query."))
}

/// Whether values of the type have one text, whatever is set: boolean, bytea, integers, texts, oid, json, numeric, uuid, jsonb.
fn is_written_alike(oid: u32) -> bool {
    const ALIKE: [u32; 15] = [
        16, 17, 18, 19, 20, 21, 23, 25, 26, 114, 1042, 1043, 1700, 2950, 3802,
    ];
    ALIKE.contains(&oid)
}

/// Whether the text of a value of one type is, as a value of the other, what an INSERT would make of it. PostgreSQL has accepted the
/// pair already.
fn stored_alike(from: u32, to: u32) -> bool {
    const INTEGERS: [u32; 3] = [21, 23, 20];
    const BPCHAR: u32 = 1042;
    const TEXTS: [u32; 4] = [25, BPCHAR, 1043, 19];
    const NUMERIC: u32 = 1700;
    from == to
        // Constants without a type of their own are read as the column's.
        || from == 25
        || from == 705
        || INTEGERS.contains(&from) && (INTEGERS.contains(&to) || to == NUMERIC)
        // To floating point PostgreSQL itself goes by the text.
        || (from == NUMERIC || INTEGERS.contains(&from)) && matches!(to, 700 | 701)
        // The blanks at the end of a character(n) are not part of it as another text.
        || from != BPCHAR && TEXTS.contains(&from) && TEXTS.contains(&to)
        // date to timestamp, and both with the session's time zone.
        || from == 1082 && to == 1114
        || from >= FIRST_OF_USERS && to >= FIRST_OF_USERS
}
