//! A query that several shards answer in parts: all are asked at once, and their rows are merged as they come.
//!
//! Nothing is kept but the row at hand: a client that reads slowly stops the shards, because their connections are not read
//! meanwhile. What the router must compare comes in columns of its own, which the client does not see.

use std::sync::Arc;
use std::task::Poll;

use catalog::Catalog;
use planner::{Access, Amount, Plan, Planned, Route, Scatter, Types};

use super::combine::portable_types;
use super::gather::{Sent, is_exact_in_binary};
use super::groups::Groups;
use super::prepared::{ServerName, Statement};
use super::report::{Failure, Report};
use super::{Session, Step};
use crate::execute::LinkError;
use crate::execute::expect::Expect;
use crate::merge::Format;
use crate::merge::key::{SortKey, append_sort_key};
use crate::merge::kind::{Collation, kind};
use crate::merge::limit::{Clauses, Limit, Verdict};
use crate::merge::row::Row;
use crate::merge::tournament::{Tournament, Turn};
use crate::wire::frontend::ShardBind;
use crate::wire::{backend, encode, frame, frontend};

/// Rows are sent on to the client when this much has gathered.
const SEND_AT_BYTES: usize = 32 * 1024;

/// The same while shards are waited for: as much as a server would hold back.
const SEND_WAITING_AT_BYTES: usize = 8 * 1024;

/// `int8`
const BIGINT: u32 = 20;

/// `timestamptz`
pub(super) const TIMESTAMPTZ: u32 = 1184;

/// The time of the transaction, in a form that is read alike under all settings.
pub(super) const MOMENT: &str = "SELECT pg_catalog.to_char(pg_catalog.timezone('UTC', pg_catalog.now()), 'YYYY-MM-DD HH24:MI:SS.US') || '+00'";

/// LIMIT and OFFSET with the values of this execution.
#[derive(Clone, Copy)]
struct Amounts {
    limit: Option<u64>,
    offset: u64,
    /// What each shard is asked for, if it is told by a parameter.
    pushed: Option<Option<i64>>,
}

/// One shard's part of the answer.
pub(super) struct Source {
    /// Index of the link.
    pub link: usize,
    /// The last row has been read.
    pub exhausted: bool,
    /// ReadyForQuery has been read.
    pub ready: bool,
}

impl Source {
    pub fn of(links: &[usize]) -> Vec<Source> {
        links
            .iter()
            .map(|link| Source {
                link: *link,
                exhausted: false,
                ready: false,
            })
            .collect()
    }
}

/// What shards are asked.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    /// The client's statement and where it begins in the client's text.
    pub own: (&'a str, i32),
    /// What takes its place.
    pub sql: Option<&'a str>,
    /// Of the parameters.
    pub types: &'a [u32],
    pub bind: ShardBind<'a>,
    /// How many rows are wanted at most; 0: all.
    pub most: i32,
}

/// How the rows become one result.
struct Merging {
    keys: Vec<SortKey>,
    distinct: usize,
    ordered: usize,
    limit: Limit,
    hidden: u16,
    groups: Option<Groups>,
    rows: u64,
}

impl Session {
    /// Runs the query and leaves its answer in the client's output. `whole`: the text that was planned.
    pub(super) async fn run_scatter(
        &mut self,
        scatter: &Scatter,
        whole: &str,
        offset: i32,
        sent: Sent<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step {
        self.drain().await?;
        let shards = self.shards_of_group(scatter.shards.as_deref(), scatter.group, catalog)?;
        let Some(amounts) = amounts(scatter, sent)? else {
            return self.other_way(scatter, whole, offset, sent, catalog).await;
        };
        let access = if scatter.locks {
            Access::LockingRead
        } else {
            Access::Read
        };
        let links = self.link_all(&shards, access, catalog).await?;
        let mut types = shard_types(scatter, sent);
        let own = whole.get(scatter.statement.clone()).unwrap_or(whole);
        let sql = scatter.sql.as_deref().unwrap_or(own);
        let must_learn = !scatter.merge.keys.is_empty()
            || scatter.sql.is_some()
            || scatter.merge.combine.is_some()
            || matches!(sent, Sent::Bound(..));
        let mut learned = scatter.learned.types(sent.declared());
        if must_learn && learned.is_none() {
            let changed = scatter.sql.is_some();
            let found = self
                .learn_types(links[0], (own, offset, changed), sql, &types, sent)
                .await?;
            learned = Some(scatter.learned.note(found));
        }
        if let Some(learned) = &learned {
            for (told, learned) in types.iter_mut().zip(&learned.parameters) {
                *told = *learned;
            }
            types = portable_types(&types, sql);
        }
        let (Some(keys), Some(groups)) = (
            sort_keys(scatter, learned.as_deref(), sent, self.reads_text_bytes())?,
            Groups::new(scatter, learned.as_deref(), sent, self.reads_text_bytes())?,
        ) else {
            return self.other_way(scatter, whole, offset, sent, catalog).await;
        };
        let mut merging = Merging {
            keys,
            distinct: scatter.merge.distinct.unwrap_or(0),
            ordered: scatter.merge.ordered,
            limit: Limit::new(Clauses {
                offset: amounts.offset,
                count: amounts.limit,
                with_ties: scatter.merge.with_ties,
                distinct: scatter.merge.distinct.is_some(),
            }),
            hidden: scatter.hidden,
            groups,
            rows: 0,
        };
        let shard_limit = scatter.merge.distinct.is_none() && scatter.merge.combine.is_none();
        let most = match sent {
            Sent::Bound(_, _, most) => u64::try_from(most).unwrap_or(0),
            Sent::Simple => 0,
        };
        // A row limit holds for the result; a shard may have to give all of it, and what is skipped.
        let shards_most = match most {
            1.. if shard_limit => i32::try_from(most.saturating_add(amounts.offset)).unwrap_or(0),
            _ => 0,
        };
        let moment = match scatter.moment {
            true => Some(self.query_value(links[0], MOMENT).await?),
            false => None,
        };
        let question = Question {
            own: (own, offset),
            sql: scatter.sql.as_deref(),
            types: &types,
            bind: ShardBind {
                moment: moment.as_deref(),
                limit: amounts.pushed,
                hidden: scatter.hidden,
                columns: scatter.columns,
            },
            most: shards_most,
        };
        self.ask_shards(&links, question, sent).await?;
        let mut sources = Source::of(&links);
        let mut described = !matches!(sent, Sent::Simple);
        let result = if merging.keys.is_empty() {
            self.append(&mut sources, &mut merging, most, &mut described)
                .await
        } else {
            self.merge(&mut sources, &mut merging, most, &mut described)
                .await
        };
        let result = match result {
            Ok(()) => {
                self.read_to_end(&mut sources, &mut described, scatter.hidden)
                    .await
            }
            failed => failed,
        };
        if let Err(failure) = result {
            self.abandon(&sources).await;
            return Err(failure);
        }
        if most > 0 && merging.rows == most {
            encode::portal_suspended(&mut self.client.out);
        } else {
            let tag = format!("SELECT {}", merging.rows);
            encode::command_complete(&mut self.client.out, &tag);
        }
        Ok(())
    }

    /// The plan for a query whose values lead to several shards, or to one that only a server could tell. `refusal`: what
    /// came of its route, for what several shards cannot answer either.
    pub(super) fn over_several(
        &self,
        planned: &Planned,
        whole: &str,
        values: &dyn planner::Values,
        refusal: Failure,
        catalog: &Catalog,
    ) -> Step<Planned> {
        let (Plan::Single(single), Failure::Report(report)) = (&*planned.plan, &refusal) else {
            return Err(refusal);
        };
        let query = single.access <= Access::LockingRead
            && single.tag.0 == "SELECT"
            && single.effects.is_empty()
            && matches!(single.route, Route::Key(_));
        if !query || report.sqlstate != "0A000" {
            return Err(refusal);
        }
        let manual = self.manual_shard(catalog)?;
        let start = planned.part.as_ref().map_or(0, |part| part.start);
        let shards = planner::resolve_all(&single.route, catalog, values).ok();
        planner::plan_several(whole, start, shards, &self.context(catalog, manual))
            .map_err(|_| refusal)
    }

    /// Whether texts come in the bytes that the servers compare.
    fn reads_text_bytes(&self) -> bool {
        let server = self.client.reported.get("server_encoding");
        self.derived.utf8 && server.is_none_or(|encoding| encoding == "UTF8")
    }

    /// The values are of types that the router does not order: a server does it.
    async fn other_way(
        &mut self,
        scatter: &Scatter,
        whole: &str,
        offset: i32,
        sent: Sent<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step {
        match &scatter.otherwise {
            Some(gather) => {
                if let Some(measures) = &mut self.measures {
                    measures.other_ways += 1;
                }
                Box::pin(self.run_gather(gather, whole, offset, sent, catalog)).await
            }
            None => Err(Report::error(
                "0A000",
                "rows of several shards cannot be put in this order by the router, nor brought to one server",
            )
            .hint("Order by columns of PostgreSQL's own types, with plain numbers in LIMIT and OFFSET.")
            .into()),
        }
    }

    /// Has a server say of which types the shards' columns and the client's parameters are. `own`: the client's text, where
    /// it begins, and whether shards are asked something else; it is judged first, because errors name places in it.
    pub(super) async fn learn_types(
        &mut self,
        index: usize,
        own: (&str, i32, bool),
        sql: &str,
        types: &[u32],
        sent: Sent<'_>,
    ) -> Step<Types> {
        let (text, offset, changed) = own;
        self.links[index].own_offset = offset;
        let described = self.describe_text(index, text, sent.declared()).await?;
        let mut parameters = Vec::new();
        let mut description = Vec::new();
        for (tag, body) in backend::messages(&described) {
            match tag {
                b't' => {
                    let oids = body.get(2..).unwrap_or_default().as_chunks::<4>().0;
                    parameters.extend(oids.iter().map(|oid| u32::from_be_bytes(*oid)));
                }
                b'T' => description.extend_from_slice(body),
                _ => {}
            }
        }
        let mut columns = description.clone();
        if changed {
            let mut shard_types = parameters.clone();
            shard_types.extend(types.iter().skip(parameters.len()));
            let described = self.describe_text(index, sql, &shard_types).await?;
            let found = backend::messages(&described).find(|(tag, _)| *tag == b'T');
            columns = found.map_or(Vec::new(), |(_, body)| body.to_vec());
        }
        let columns: Vec<u32> = backend::columns(&columns)
            .map(|(_, fixed)| backend::type_oid(&columns, fixed))
            .collect();
        Ok(Types {
            declared: sent.declared().to_vec(),
            portable: columns.iter().all(|oid| is_exact_in_binary(*oid)),
            columns,
            parameters,
            description,
        })
    }

    /// What a server says to Describe of a text.
    async fn describe_text(&mut self, index: usize, sql: &str, types: &[u32]) -> Step<Vec<u8>> {
        let link = &mut self.links[index];
        encode::parse(link.backend.out(), b"", sql.as_bytes(), types);
        encode::describe(link.backend.out(), b'S', b"");
        encode::sync(link.backend.out());
        link.backend.forget_unnamed();
        link.captured.clear();
        link.expects.push_back(Expect::Captured);
        self.exchange(index).await?;
        let described = std::mem::take(&mut self.links[index].captured);
        self.own_error(index)?;
        self.links[index].own_offset = 0;
        Ok(described)
    }

    /// Sends a query to all shards.
    pub(super) async fn ask_shards(
        &mut self,
        links: &[usize],
        question: Question<'_>,
        sent: Sent<'_>,
    ) -> Step {
        let Question {
            own: (own, offset),
            sql,
            types,
            bind,
            most,
        } = question;
        match sent {
            Sent::Simple => {
                for &index in links {
                    let link = &mut self.links[index];
                    if sql.is_none() {
                        link.position_offset = offset;
                    }
                    let sql = sql.unwrap_or(own);
                    encode::parse(link.backend.out(), b"", sql.as_bytes(), types);
                    link.backend.forget_unnamed();
                    bind.write(link.backend.out(), None, b"");
                    // Every shard describes, one description is passed on: whichever comes first.
                    encode::describe(link.backend.out(), b'P', b"");
                    encode::execute(link.backend.out(), b"", 0);
                    encode::sync(link.backend.out());
                }
            }
            Sent::Bound(statement, message, _) => {
                let client = frontend::parse_bind(&message[5..])?;
                let of_shards = self.shard_statement(statement, sql, types);
                for &index in links {
                    if !self.links[index].backend.knows(of_shards.key) {
                        self.ensure_known(index, &of_shards, false).await?;
                        let link = &mut self.links[index];
                        encode::sync(link.backend.out());
                        link.expects.push_back(Expect::Sync { forward: false });
                        self.exchange(index).await?;
                    }
                    let link = &mut self.links[index];
                    let name = ServerName::of(of_shards.key);
                    bind.write(link.backend.out(), Some(&client), name.as_bytes());
                    encode::execute(link.backend.out(), b"", most);
                    encode::sync(link.backend.out());
                }
            }
        }
        for &index in links {
            let link = &mut self.links[index];
            link.unsynced = false;
            if let Some(measures) = &mut self.measures {
                measures.asked(link.shard, link.backend.consumed_bytes());
            }
            link.backend.flush().await.map_err(LinkError::Server)?;
        }
        Ok(())
    }

    /// The statement that shards know the query by.
    fn shard_statement(
        &self,
        statement: &Arc<Statement>,
        sql: Option<&str>,
        types: &[u32],
    ) -> Arc<Statement> {
        let Some(sql) = sql else {
            return statement.clone();
        };
        let named = statement.key.named && statement.reading.temporary.is_empty();
        if named {
            let interned = self.router.statements.intern(
                sql,
                types,
                &statement.reading,
                statement.epoch,
                || Ok::<_, std::convert::Infallible>(statement.planned.clone()),
            );
            match interned {
                Ok(statement) => return statement,
                Err(never) => match never {},
            }
        }
        Arc::new(Statement {
            key: self.router.statements.next_key(false),
            sql: sql.into(),
            parameter_types: types.into(),
            shape: Default::default(),
            ..Statement::clone(statement)
        })
    }

    /// Rows in any order, from whichever shard has some.
    async fn append(
        &mut self,
        sources: &mut [Source],
        merging: &mut Merging,
        most: u64,
        described: &mut bool,
    ) -> Step {
        loop {
            let mut live = 0;
            for source in sources.iter_mut() {
                while !source.exhausted && self.head(source, described, merging.hidden)? {
                    if merging.limit.is_done() || most > 0 && merging.rows == most {
                        return Ok(());
                    }
                    self.take_row(source, merging, (&[], 0, 0))?;
                    if self.client.out.len() >= SEND_AT_BYTES {
                        self.client.flush().await.map_err(LinkError::Client)?;
                    }
                }
                live += usize::from(!source.exhausted);
            }
            if live == 0 {
                return self.end_group(merging);
            }
            if merging.limit.is_done() {
                return Ok(());
            }
            self.fill_any(sources).await?;
        }
    }

    /// Rows in the order of the keys.
    async fn merge(
        &mut self,
        sources: &mut [Source],
        merging: &mut Merging,
        most: u64,
        described: &mut bool,
    ) -> Step {
        let mut tournament = Tournament::new(sources.len());
        let mut ends = vec![(0usize, 0usize); sources.len()];
        loop {
            match tournament.turn() {
                Turn::Over => return self.end_group(merging),
                Turn::Of(at) => {
                    if merging.limit.is_done() || most > 0 && merging.rows == most {
                        return Ok(());
                    }
                    let (distinct, ordered) = ends[at];
                    let key = (tournament.key(at), distinct, ordered);
                    self.take_row(&sources[at], merging, key)?;
                    if self.client.out.len() >= SEND_AT_BYTES {
                        self.client.flush().await.map_err(LinkError::Client)?;
                    }
                }
                Turn::Awaited => {
                    let mut waiting = None;
                    for at in 0..sources.len() {
                        if !tournament.awaits(at) {
                            continue;
                        }
                        let source = &mut sources[at];
                        if self.head(source, described, merging.hidden)? {
                            let key = tournament.offer(at);
                            ends[at] = self.append_key(source, merging, key)?;
                        } else if source.exhausted {
                            tournament.exhausted(at);
                        } else {
                            waiting = Some(at);
                        }
                    }
                    if let Some(at) = waiting {
                        // It is needed before any other row can be.
                        self.fill_any(std::slice::from_ref(&sources[at])).await?;
                    }
                }
            }
        }
    }

    /// Appends the sort key of a source's first row; where the part for DISTINCT ends, and the part for ORDER BY.
    fn append_key(
        &self,
        source: &Source,
        merging: &Merging,
        out: &mut Vec<u8>,
    ) -> Step<(usize, usize)> {
        let row = Row::new(self.first_body(source)?).map_err(malformed)?;
        let mut ends = (0, 0);
        for (index, key) in merging.keys.iter().enumerate() {
            append_sort_key(std::slice::from_ref(key), &row, out).map_err(malformed)?;
            if index + 1 == merging.distinct {
                ends.0 = out.len();
            }
            if index + 1 == merging.ordered {
                ends.1 = out.len();
            }
        }
        Ok(ends)
    }

    /// The first row's body, which [`Self::head`] has seen.
    fn first_body(&self, source: &Source) -> Step<&[u8]> {
        let link = &self.links[source.link];
        let input = link.backend.input();
        let frame = frame::next_frame(input, &link.limits).map_err(LinkError::Protocol)?;
        match frame {
            Some(frame) if frame.tag == b'D' => Ok(&input[5..frame.total]),
            _ => Err(Report::error("XX000", "a row is gone before it was taken").into()),
        }
    }

    /// Shows a source's first row to the client, unless it is to be left out, or adds it to its group. `key`: its sort key, and
    /// where the parts for DISTINCT and for ORDER BY end.
    fn take_row(
        &mut self,
        source: &Source,
        merging: &mut Merging,
        (key, distinct, ordered): (&[u8], usize, usize),
    ) -> Step {
        if merging.groups.is_some() {
            if merging
                .groups
                .as_ref()
                .is_some_and(|groups| !groups.takes(key))
            {
                self.end_group(merging)?;
            }
            let link = &mut self.links[source.link];
            let input = link.backend.input();
            let total = frame::total_length(input).unwrap_or(0);
            if let Some(groups) = &mut merging.groups {
                groups.add(&input[5..total], key)?;
            }
            link.backend.consume(total);
            return Ok(());
        }
        let verdict = merging.limit.row(&key[..distinct], &key[..ordered]);
        let link = &mut self.links[source.link];
        let input = link.backend.input();
        let total = frame::total_length(input).unwrap_or(0);
        if verdict == Verdict::Pass {
            merging.rows += 1;
            if merging.hidden == 0 {
                self.client.out.extend_from_slice(&input[..total]);
            } else {
                Row::new(&input[5..total])
                    .and_then(|row| row.write_without(merging.hidden, &mut self.client.out))
                    .map_err(malformed)?;
            }
        }
        link.backend.consume(total);
        Ok(())
    }

    /// All rows of a group have come: its row is shown.
    fn end_group(&mut self, merging: &mut Merging) -> Step {
        if let Some(groups) = &mut merging.groups
            && groups.is_open()
        {
            if merging.limit.row(&[], &[]) == Verdict::Pass {
                merging.rows += 1;
                groups.write(&mut self.client.out)?;
            }
            groups.clear();
        }
        Ok(())
    }

    /// Reads what has come of a source up to a row. `false`: there is none yet, or no more.
    pub(super) fn head(
        &mut self,
        source: &mut Source,
        described: &mut bool,
        hidden: u16,
    ) -> Step<bool> {
        loop {
            let link = &mut self.links[source.link];
            let Some(frame) = frame::next_frame(link.backend.input(), &link.limits)
                .map_err(LinkError::Protocol)?
            else {
                return Ok(false);
            };
            let message = &link.backend.input()[..frame.total];
            let body = &message[5..];
            match frame.tag {
                b'D' => return Ok(true),
                b'T' => {
                    if !std::mem::replace(described, true) {
                        backend::row_description_without(&mut self.client.out, body, hidden)
                            .map_err(LinkError::Protocol)?;
                    }
                }
                b'C' | b's' | b'I' => {
                    source.exhausted = true;
                    if let Some(measures) = &mut self.measures {
                        measures.answered(link.shard, link.backend.consumed_bytes(), body);
                    }
                }
                b'E' => {
                    source.exhausted = true;
                    let own = self.client.with_own_names(body).into_owned();
                    let context = link.context.clone();
                    let offset = std::mem::take(&mut link.position_offset);
                    backend::rewrite_error(&mut self.client.out, &own, Some(&context), offset)
                        .map_err(LinkError::Protocol)?;
                    return Err(Failure::Sent);
                }
                b'N' => self.client.out.extend_from_slice(message),
                b'S' => {
                    let (name, value) =
                        backend::parse_parameter_status(body).map_err(LinkError::Protocol)?;
                    let (name, value) = (name.to_owned(), value.to_owned());
                    link.backend.parameters.update(&name, &value);
                }
                b'Z' => {
                    source.ready = true;
                    link.position_offset = 0;
                    let status = body.first().copied().unwrap_or(b'E');
                    link.backend.set_status(status);
                }
                b'1' | b'2' | b'3' | b'n' | b'A' => {}
                other => return Err(LinkError::unexpected(other).into()),
            }
            link.backend.consume(frame.total);
            if source.ready {
                return Ok(false);
            }
        }
    }

    /// Waits until one of the sources that have not ended says something.
    pub(super) async fn fill_any(&mut self, sources: &[Source]) -> Step {
        if self.client.out.len() >= SEND_WAITING_AT_BYTES {
            self.client.flush().await.map_err(LinkError::Client)?;
        }
        let links = &mut self.links;
        let filled = std::future::poll_fn(|context| {
            for source in sources.iter().filter(|source| !source.ready) {
                // Dropped when there is nothing yet; the connection remembers who waits.
                let fill = std::pin::pin!(links[source.link].backend.fill());
                if let Poll::Ready(filled) = fill.poll(context) {
                    return Poll::Ready(filled);
                }
            }
            Poll::Pending
        });
        match self.handle.cancelling(filled).await {
            Ok(0) => Err(LinkError::Server(std::io::ErrorKind::UnexpectedEof.into()).into()),
            Ok(_) => Ok(()),
            Err(error) => Err(LinkError::Server(error).into()),
        }
    }

    /// Reads what the shards still say: they have been asked for no more rows than may be needed.
    pub(super) async fn read_to_end(
        &mut self,
        sources: &mut [Source],
        described: &mut bool,
        hidden: u16,
    ) -> Step {
        for source in sources {
            loop {
                while self.head(source, described, hidden)? {
                    let link = &mut self.links[source.link];
                    let total = frame::total_length(link.backend.input()).unwrap_or(0);
                    link.backend.consume(total);
                }
                if source.ready {
                    break;
                }
                self.fill_any(std::slice::from_ref(source)).await?;
            }
        }
        Ok(())
    }

    /// The query has failed: nobody reads what shards still send. Connections that have come to rest are kept.
    pub(super) async fn abandon(&mut self, sources: &[Source]) {
        if let Some(block) = &mut self.block {
            block.failed = true;
        }
        let mut unfinished: Vec<usize> = Vec::new();
        for source in sources.iter().filter(|source| !source.ready) {
            unfinished.push(source.link);
        }
        // Most fail together; the others are not waited for.
        let patience = tokio::time::Instant::now() + std::time::Duration::from_millis(PATIENCE_MS);
        for &index in &unfinished {
            let link = &mut self.links[index];
            // Whatever comes of it shows in the connection's state.
            let _ = tokio::time::timeout_at(patience, settle(link)).await;
        }
        unfinished.sort_unstable();
        for index in unfinished.into_iter().rev() {
            if self.links[index].backend.is_working() || self.links[index].backend.is_broken() {
                self.drop_link(index).await;
            }
        }
    }
}

/// How long a shard that works on a query that has failed elsewhere may take to answer.
const PATIENCE_MS: u64 = 20;

/// Reads up to ReadyForQuery, or up to where the connection is of no more use.
async fn settle(link: &mut crate::execute::Link) {
    loop {
        loop {
            match frame::next_frame(link.backend.input(), &link.limits) {
                Ok(Some(frame)) => {
                    let status = link.backend.input().get(5).copied();
                    link.backend.consume(frame.total);
                    if frame.tag == b'Z' {
                        link.position_offset = 0;
                        link.backend.set_status(status.unwrap_or(b'E'));
                        return;
                    }
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
        if !matches!(link.backend.fill().await, Ok(1..)) {
            return;
        }
    }
}

fn malformed(error: crate::merge::Malformed) -> Failure {
    Report::error(error.sqlstate(), error.to_string()).into()
}

/// The types of the shards' parameters, as far as they are told.
fn shard_types(scatter: &Scatter, sent: Sent<'_>) -> Vec<u32> {
    let mut types = match sent {
        Sent::Simple => Vec::new(),
        Sent::Bound(statement, ..) => statement.parameter_types.to_vec(),
    };
    let amounts = [scatter.merge.limit, scatter.merge.offset];
    let counted = amounts
        .into_iter()
        .flatten()
        .filter_map(|amount| match amount {
            Amount::Parameter(index) => Some(usize::from(index)),
            Amount::Rows(_) => None,
        });
    for index in counted {
        if types.len() <= index {
            types.resize(index + 1, 0);
        }
        // It may stand nowhere else in what the shards are asked.
        if types[index] == 0 {
            types[index] = BIGINT;
        }
    }
    if scatter.moment || scatter.limit_parameter {
        types.resize(usize::from(scatter.parameters), 0);
        types.extend(scatter.moment.then_some(TIMESTAMPTZ));
        types.extend(scatter.limit_parameter.then_some(BIGINT));
    }
    types
}

/// The numbers of LIMIT and OFFSET; `None`: only a server can tell them, or refuses them.
fn amounts(scatter: &Scatter, sent: Sent<'_>) -> Step<Option<Amounts>> {
    let mut values = [None, None];
    for (value, amount) in values
        .iter_mut()
        .zip([scatter.merge.limit, scatter.merge.offset])
    {
        *value = match (amount, sent) {
            (None, _) => None,
            (Some(Amount::Rows(rows)), _) => u64::try_from(rows).ok(),
            (Some(Amount::Parameter(_)), Sent::Simple) => return Ok(None),
            (Some(Amount::Parameter(index)), Sent::Bound(statement, message, _)) => {
                let bind = frontend::parse_bind(&message[5..])?;
                let type_oid = statement.parameter_types.get(usize::from(index));
                match bind.parameter(index) {
                    Some(None) => None,
                    Some(Some(bytes)) => {
                        let is_binary = bind.parameter_is_binary(index);
                        let number = number(bytes, is_binary, type_oid.copied().unwrap_or(0));
                        match number.and_then(|number| u64::try_from(number).ok()) {
                            Some(number) => Some(number),
                            None => return Ok(None),
                        }
                    }
                    None => return Ok(None),
                }
            }
        };
    }
    let [limit, offset] = values;
    let offset = offset.unwrap_or(0);
    let pushed = scatter.limit_parameter.then(|| {
        let rows = limit?.checked_add(offset)?;
        i64::try_from(rows).ok()
    });
    Ok(Some(Amounts {
        limit,
        offset,
        pushed,
    }))
}

/// The value of an integer parameter.
fn number(bytes: &[u8], is_binary: bool, type_oid: u32) -> Option<i64> {
    if !is_binary {
        return std::str::from_utf8(bytes).ok()?.trim().parse().ok();
    }
    match (type_oid, bytes) {
        (0 | 20, bytes) => Some(i64::from_be_bytes(bytes.try_into().ok()?)),
        (23, bytes) => Some(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        (21, bytes) => Some(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        _ => None,
    }
}

/// The keys as the rows will have them; `None`: the router does not reproduce the order of one of them.
fn sort_keys(
    scatter: &Scatter,
    types: Option<&Types>,
    sent: Sent<'_>,
    utf8: bool,
) -> Step<Option<Vec<SortKey>>> {
    let type_of =
        |column: u16| types.and_then(|types| types.columns.get(usize::from(column)).copied());
    let bind = match sent {
        Sent::Simple => None,
        Sent::Bound(_, message, _) => Some(frontend::parse_bind(&message[5..])?),
    };
    let mut keys = Vec::with_capacity(scatter.merge.keys.len());
    for key in &scatter.merge.keys {
        let Some(type_oid) = type_of(key.column) else {
            let short = "a shard has fewer columns than it was asked for";
            return Err(Report::error("XX000", short).into());
        };
        let collation = if key.bytewise && utf8 {
            Collation::C
        } else {
            Collation::Other
        };
        let Some(kind) = kind(type_oid, collation) else {
            return Ok(None);
        };
        let format = match key.column.checked_sub(scatter.hidden) {
            None => Format::Binary,
            Some(column) => {
                let format = bind
                    .as_ref()
                    .map_or(0, |bind| bind.result_format(usize::from(column)));
                if format == 1 {
                    Format::Binary
                } else {
                    Format::Text
                }
            }
        };
        if format == Format::Text && !kind.reads_text() {
            return Ok(None);
        }
        keys.push(SortKey {
            column: key.column,
            kind,
            format,
            descending: key.descending,
            nulls_first: key.nulls_first,
        });
    }
    Ok(Some(keys))
}
