//! A query that several shards answer in parts: all are asked at once, and their rows are merged as they come.
//!
//! Nothing is kept but the row at hand: a client that reads slowly stops the shards, because their connections are not read
//! meanwhile. What the router must compare comes in columns of its own, which the client does not see.

use std::sync::Arc;
use std::task::Poll;

use bytes::BytesMut;
use catalog::Catalog;
use planner::{Access, Amount, Plan, Planned, Route, Scatter, Turns, Types};

use super::combine::portable_types;
use super::gather::{Sent, Wanted, is_exact_in_binary, names_object};
use super::merging::Merging;
use super::prepared::{ServerName, Statement};
use super::report::{Failure, Report};
use super::{Session, Step};
use crate::execute::expect::Expect;
use crate::execute::{Link, LinkError};
use crate::merge::limit::Clauses;
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
pub(super) struct Amounts {
    pub limit: Option<u64>,
    pub offset: u64,
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
    /// The number of rows in the command tag.
    pub affected: u64,
}

impl Source {
    pub fn of(links: &[usize]) -> Vec<Source> {
        links
            .iter()
            .map(|link| Source {
                link: *link,
                exhausted: false,
                ready: false,
                affected: 0,
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
    pub asked: Asked<'a>,
}

/// What shards do at once.
#[derive(Clone, Copy)]
pub(super) enum Asked<'a> {
    /// They give so many rows at most; 0: all.
    Rows(i32),
    /// They open a portal of this name, whose rows are asked for later.
    Portal(&'a str),
}

impl Asked<'_> {
    fn portal(&self) -> &[u8] {
        match self {
            Self::Rows(_) => b"",
            Self::Portal(name) => name.as_bytes(),
        }
    }

    fn write(&self, out: &mut BytesMut) {
        if let Self::Rows(most) = self {
            encode::execute(out, b"", *most);
        }
        encode::sync(out);
    }
}

/// A query whose shards can be asked.
pub(super) struct Ready {
    pub links: Vec<usize>,
    /// Of the shards' parameters.
    pub types: Vec<u32>,
    pub amounts: Amounts,
    pub merging: Merging,
    /// Of the columns that come, as far as it matters.
    pub learned: Option<Arc<Types>>,
}

impl Ready {
    /// How many rows each shard has to give so that there are `most` in the result; `None`: that cannot be said.
    pub fn enough(&self, scatter: &Scatter, most: u64) -> Option<u64> {
        let row_by_row = scatter.merge.distinct.is_none() && scatter.merge.combine.is_none();
        row_by_row.then(|| most.saturating_add(self.amounts.offset))
    }

    /// What is bound on each shard besides the client's own values.
    pub fn bind<'a>(&self, scatter: &Scatter, moment: Option<&'a str>) -> ShardBind<'a> {
        ShardBind {
            moment,
            limit: self.amounts.pushed,
            values: &[],
            rows: None,
            hidden: scatter.hidden,
            columns: scatter.columns,
        }
    }
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
        let result = self
            .answer_scatter(scatter, whole, offset, sent, catalog)
            .await;
        self.at_rest(result).await
    }

    async fn answer_scatter(
        &mut self,
        scatter: &Scatter,
        whole: &str,
        offset: i32,
        sent: Sent<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step {
        let own = whole.get(scatter.statement.clone()).unwrap_or(whole);
        let Some(ready) = self
            .make_ready(scatter, (own, offset), sent, catalog)
            .await?
        else {
            return self
                .other_way(scatter, whole, offset, sent, catalog)
                .await
                .map(drop);
        };
        let most = match sent {
            Sent::Bound(_, _, Wanted::Rows(most)) => u64::try_from(most).unwrap_or(0),
            Sent::Bound(_, _, Wanted::Cursor(_) | Wanted::Copy(..)) | Sent::Simple => 0,
        };
        // A row limit holds for the result; a shard may have to give all of it, and what is skipped.
        let shards_most = match ready.enough(scatter, most) {
            Some(enough) if most > 0 => i32::try_from(enough).unwrap_or(0),
            _ => 0,
        };
        let moment = self.moment_of(scatter, ready.links[0]).await?;
        if scatter.turns != Turns::AtOnce {
            return self
                .lock_rows(scatter, ready, moment.as_deref(), most, sent)
                .await;
        }
        let bind = ready.bind(scatter, moment.as_deref());
        let question = Question {
            own: (own, offset),
            sql: scatter.sql.as_deref(),
            types: &ready.types,
            bind,
            asked: Asked::Rows(shards_most),
        };
        self.ask_shards(&ready.links, question, sent).await?;
        let mut sources = Source::of(&ready.links);
        let mut merging = ready.merging;
        let mut described = !matches!(sent, Sent::Simple);
        let result = if !merging.is_ordered() {
            self.append(&mut sources, &mut merging, most, &mut described)
                .await
        } else {
            self.merge(&mut sources, &mut merging, most, &mut described)
                .await
        };
        result?;
        self.read_to_end(&mut sources, &mut described, scatter.hidden)
            .await?;
        if most > 0 && merging.rows == most {
            encode::portal_suspended(&mut self.client.out);
        } else {
            let tag = format!("SELECT {}", merging.rows);
            encode::command_complete(&mut self.client.out, &tag);
        }
        Ok(())
    }

    /// Links all shards and finds out what they have to be asked. `own`: the client's statement and where it begins. `None`:
    /// the values are of types that the router does not put in order, or there is an amount that only a server can tell.
    pub(super) async fn make_ready(
        &mut self,
        scatter: &Scatter,
        own: (&str, i32),
        sent: Sent<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step<Option<Ready>> {
        self.drain().await?;
        let shards = self.shards_of_group(scatter.shards.as_deref(), scatter.group, catalog)?;
        let Some(amounts) = amounts(scatter, sent)? else {
            return Ok(None);
        };
        let access = if scatter.locks {
            Access::LockingRead
        } else {
            Access::Read
        };
        let links = self.link_all(&shards, access, catalog).await?;
        let mut types = shard_types(scatter, sent);
        let (own, offset) = own;
        let sql = scatter.sql.as_deref().unwrap_or(own);
        let must_learn = !scatter.merge.keys.is_empty()
            || scatter.sql.is_some()
            || scatter.merge.combine.is_some()
            || matches!(sent, Sent::Bound(..));
        let mut learned = scatter.learned.types(sent.declared());
        if let (None, Sent::Simple, Turns::AtOnce, Some(columns)) =
            (&learned, sent, &scatter.turns, &scatter.merge.types)
        {
            // A text with literals of its own need not be described before it runs.
            learned = Some(Arc::new(Types {
                columns: columns.clone(),
                ..Types::default()
            }));
        }
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
        let clauses = Clauses {
            offset: amounts.offset,
            count: amounts.limit,
            with_ties: scatter.merge.with_ties,
            distinct: scatter.merge.distinct.is_some(),
        };
        let bind = match sent {
            Sent::Simple => None,
            Sent::Bound(_, message, _) => Some(frontend::parse_bind(&message[5..])?),
        };
        let numbers = |(index, oid): (usize, &u32)| {
            names_object(*oid)
                && bind
                    .as_ref()
                    .is_some_and(|bind| bind.result_format(index) == 1)
        };
        let shown = learned.iter().flat_map(|learned| &learned.columns);
        let mut shown = shown.skip(usize::from(scatter.hidden)).enumerate();
        if scatter.otherwise.is_some() && shown.any(numbers) {
            // Each shard has its own.
            return Ok(None);
        }
        let utf8 = self.reads_text_bytes();
        let merging = Merging::new(scatter, learned.as_deref(), clauses, bind.as_ref(), utf8)?;
        Ok(merging.map(|merging| Ready {
            links,
            types,
            amounts,
            merging,
            learned,
        }))
    }

    /// The time of the transaction, if the shards have to be told.
    pub(super) async fn moment_of(
        &mut self,
        scatter: &Scatter,
        index: usize,
    ) -> Step<Option<String>> {
        Ok(match scatter.moment {
            true => Some(self.query_value(index, MOMENT).await?),
            false => None,
        })
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
        let query = single.access <= Access::LockingRead && single.tag.0 == "SELECT";
        let write = matches!(single.tag.0, "INSERT" | "UPDATE" | "DELETE" | "MERGE");
        let split =
            (query || write) && single.effects.is_empty() && matches!(single.route, Route::Key(_));
        if !split || report.sqlstate != "0A000" {
            return Err(refusal);
        }
        if write {
            return self.spread_instead(single, planned, whole, values, refusal, catalog);
        }
        let manual = self.manual_shard(catalog)?;
        let start = planned.part.as_ref().map_or(0, |part| part.start);
        let shards = planner::resolve_all(&single.route, catalog, values).ok();
        planner::plan_several(whole, start, shards, &self.context(catalog, manual))
            .map_err(|_| refusal)
    }

    /// Whether texts come in the bytes that the servers compare.
    pub(super) fn reads_text_bytes(&self) -> bool {
        let server = self.client.reported.get("server_encoding");
        self.derived.utf8 && server.is_none_or(|encoding| encoding == "UTF8")
    }

    /// The values are of types that the router does not order: a server does it.
    pub(super) async fn other_way(
        &mut self,
        scatter: &Scatter,
        whole: &str,
        offset: i32,
        sent: Sent<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step<Option<Link>> {
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
        let described = columns;
        let mut names = Vec::new();
        let mut modifiers = Vec::new();
        let mut columns = Vec::new();
        for (name, fixed) in backend::columns(&described) {
            names.push(String::from_utf8_lossy(name).into_owned());
            modifiers.push(backend::type_modifier(&described, fixed));
            columns.push(backend::type_oid(&described, fixed));
        }
        Ok(Types {
            declared: sent.declared().to_vec(),
            portable: columns.iter().all(|oid| is_exact_in_binary(*oid)),
            shapes: Vec::new(),
            over_subqueries: None,
            with_parts: None,
            columns,
            names,
            modifiers,
            parameters,
            description,
        })
    }

    /// What a server says to Describe of a text.
    pub(super) async fn describe_text(
        &mut self,
        index: usize,
        sql: &str,
        types: &[u32],
    ) -> Step<Vec<u8>> {
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
            asked,
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
                    bind.write(link.backend.out(), b"", None, b"");
                    // Every shard describes, one description is passed on: whichever comes first.
                    encode::describe(link.backend.out(), b'P', b"");
                    Asked::Rows(0).write(link.backend.out());
                }
            }
            Sent::Bound(statement, message, _) => {
                let client = frontend::parse_bind(&message[5..])?;
                let of_shards = self.shard_statement(statement, sql, types);
                for &index in links {
                    if sql.is_none() {
                        self.links[index].position_offset = offset;
                    }
                    if !self.links[index].backend.knows(of_shards.key) {
                        self.ensure_known(index, &of_shards, false).await?;
                        let link = &mut self.links[index];
                        encode::sync(link.backend.out());
                        link.expects.push_back(Expect::Sync { forward: false });
                        self.exchange(index).await?;
                    }
                    let link = &mut self.links[index];
                    let name = ServerName::of(of_shards.key);
                    let out = link.backend.out();
                    bind.write(out, asked.portal(), Some(&client), name.as_bytes());
                    asked.write(out);
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
            let statements = &self.router.statements;
            return statements.intern_for_shards(sql, types, statement);
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
    pub(super) async fn append(
        &mut self,
        sources: &mut [Source],
        merging: &mut Merging,
        most: u64,
        described: &mut bool,
    ) -> Step {
        loop {
            let mut live = 0;
            for source in sources.iter_mut() {
                while !source.exhausted && self.head(source, described, merging.hidden())? {
                    if merging.is_done() || most > 0 && merging.rows == most {
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
                return merging.end_group(&mut self.client.out);
            }
            if merging.is_done() {
                return Ok(());
            }
            self.fill_any(sources.iter()).await?;
        }
    }

    /// Rows in the order of the keys.
    pub(super) async fn merge(
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
                Turn::Over => return merging.end_group(&mut self.client.out),
                Turn::Of(at) => {
                    if merging.is_done() || most > 0 && merging.rows == most {
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
                    let mut waiting = false;
                    for at in 0..sources.len() {
                        if !tournament.awaits(at) {
                            continue;
                        }
                        let source = &mut sources[at];
                        if self.head(source, described, merging.hidden())? {
                            let key = tournament.offer(at);
                            ends[at] = merging.append_key(self.first_body(source)?, key)?;
                        } else if source.exhausted {
                            tournament.exhausted(at);
                        } else {
                            waiting = true;
                        }
                    }
                    if waiting {
                        // Only those are read whose next row is needed: others may be far ahead.
                        let awaited = sources.iter().enumerate();
                        let awaited = awaited.filter(|(at, _)| tournament.awaits(*at));
                        self.fill_any(awaited.map(|(_, source)| source)).await?;
                    }
                }
            }
        }
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

    /// Takes a source's first row. `key`: its sort key, and where the parts for DISTINCT and for ORDER BY end.
    fn take_row(
        &mut self,
        source: &Source,
        merging: &mut Merging,
        key: (&[u8], usize, usize),
    ) -> Step {
        let link = &mut self.links[source.link];
        let input = link.backend.input();
        let total = frame::total_length(input).unwrap_or(0);
        merging.take(&input[..total], key, &mut self.client.out)?;
        link.backend.consume(total);
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
                    // It has been planned.
                    self.has_begun = true;
                    if !std::mem::replace(described, true) {
                        backend::row_description_without(&mut self.client.out, body, hidden)
                            .map_err(LinkError::Protocol)?;
                    }
                }
                b'C' | b's' | b'I' => {
                    source.exhausted = true;
                    source.affected = backend::rows_of_tag(body);
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
    pub(super) async fn fill_any<'s>(
        &mut self,
        sources: impl Iterator<Item = &'s Source> + Clone,
    ) -> Step {
        if self.client.out.len() >= SEND_WAITING_AT_BYTES {
            self.client.flush().await.map_err(LinkError::Client)?;
        }
        let links = &mut self.links;
        let filled = std::future::poll_fn(|context| {
            for source in sources.clone().filter(|source| !source.ready) {
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
                self.fill_any(std::iter::once(&*source)).await?;
            }
        }
        Ok(())
    }
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
