//! A write that several shards carry out, each for its own rows: all are asked at once, and all or none of it stays.
//!
//! Entry point: [`Session::run_spread`]. Within a block of the client's the shards join it; otherwise the statement has a block of its own,
//! which commits in two phases when every shard has answered. RETURNING passes rows on as they come, in the order of VALUES; the command
//! tag sums what the shards say.

use std::sync::Arc;

use catalog::{Catalog, KeyType, KeyValue, ShardId};
use planner::{
    Access, Errand, KeySource, Plan, Planned, Route, RowKey, Single, Spread, SpreadKind, Values,
};

use super::block::Block;
use super::extended::BindValues;
use super::gather::Sent;
use super::prepared::{ServerName, Statement};
use super::report::{Failure, Report};
use super::scatter::{MOMENT, Source, TIMESTAMPTZ};
use super::{Session, Step};
use crate::execute::LinkError;
use crate::execute::expect::Expect;
use crate::merge::row::Row;
use crate::wire::{backend, encode, frame, frontend};

/// Rows are sent on to the client when this much has gathered.
const SEND_AT_BYTES: usize = 32 * 1024;

/// Texts for shards up to this length are prepared there by name, if the client's statement is.
const NAMED_UP_TO_BYTES: usize = 16 * 1024;

/// What shards are sent, and where their errors' positions belong.
struct Dispatch<'a> {
    errands: &'a [Errand],
    /// The client's statement, and how many characters come before it.
    own: &'a str,
    offset: i32,
    /// Rows come with their keys first, of these types.
    tells: &'a [KeyType],
    /// And so are they.
    is_binary: bool,
}

impl Dispatch<'_> {
    fn hidden(&self) -> u16 {
        u16::try_from(self.tells.len()).unwrap_or(u16::MAX)
    }

    /// The key of a row that has come; `None`: it cannot be read.
    fn key(&self, body: &[u8]) -> Option<RowKey> {
        let row = Row::new(body).ok()?;
        (0u16..)
            .zip(self.tells)
            .map(|(column, key_type)| {
                let value = row.cell(column).ok()??;
                match self.is_binary {
                    true => KeyValue::from_binary(key_type.oid(), value, *key_type).ok(),
                    false => {
                        let text = std::str::from_utf8(value).ok()?;
                        KeyValue::from_text(*key_type, text).ok()
                    }
                }
            })
            .collect()
    }
}

impl Session {
    /// Runs the write and leaves its answer in the client's output. `whole`: the text that was planned.
    pub(super) async fn run_spread(
        &mut self,
        spread: &Spread,
        whole: &str,
        offset: i32,
        sent: Sent<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step {
        let own_block = self.block.is_none();
        let result = self.carry_out(spread, whole, offset, sent, catalog).await;
        let rows = self.at_rest(result).await?;
        if own_block {
            self.end_implicit_block().await?;
        }
        let tag = match spread.tag.0 {
            "INSERT" => format!("INSERT 0 {rows}"),
            tag => format!("{tag} {rows}"),
        };
        encode::command_complete(&mut self.client.out, &tag);
        Ok(())
    }

    /// Has all shards do their parts. How many rows these are about.
    async fn carry_out(
        &mut self,
        spread: &Spread,
        whole: &str,
        offset: i32,
        sent: Sent<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step<u64> {
        self.drain().await?;
        let own = whole.get(spread.statement.clone()).unwrap_or(whole);
        let errands = match sent {
            Sent::Simple => spread.errands(own, catalog, &())?,
            Sent::Bound(statement, message, _) => {
                let bind = frontend::parse_bind(&message[5..])?;
                let values = BindValues {
                    types: &statement.parameter_types,
                    bind: &bind,
                };
                let indexed = values.indexed();
                let values: &dyn Values = match &indexed {
                    Some(indexed) => indexed,
                    None => &values,
                };
                spread.errands(own, catalog, values)?
            }
        };
        if self.block.is_none() {
            self.open_block(Block::implicit());
        }
        let shards: Vec<ShardId> = errands.iter().map(|errand| errand.shard).collect();
        let links = self.link_all(&shards, Access::Write, catalog).await?;
        let moment = match spread.moment {
            true => Some(self.query_value(links[0], MOMENT).await?),
            false => None,
        };
        let tells = match &spread.kind {
            SpreadKind::Rows(rows) => rows.tells.as_slice(),
            SpreadKind::Each(_) => &[],
        };
        let dispatch = Dispatch {
            errands: &errands,
            own,
            offset,
            tells,
            is_binary: match sent {
                Sent::Simple => false,
                Sent::Bound(_, message, _) => frontend::parse_bind(&message[5..])?.is_all_binary(),
            },
        };
        match sent {
            Sent::Simple => self.send_errands_simply(&links, &dispatch, moment.as_deref(), spread),
            Sent::Bound(statement, message, _) => {
                let types = self
                    .parameter_types(spread, links[0], own, statement, sent)
                    .await?;
                for (errand, &index) in errands.iter().zip(&links) {
                    self.bind_errand(
                        index,
                        errand,
                        (statement, &types),
                        message,
                        (moment.as_deref(), hidden_columns(spread)),
                        catalog,
                    )
                    .await?;
                }
            }
        }
        for &index in &links {
            let link = &mut self.links[index];
            link.unsynced = false;
            link.backend.flush().await.map_err(LinkError::Server)?;
        }
        let mut sources = Source::of(&links);
        let mut described = !matches!(sent, Sent::Simple);
        if !tells.is_empty() {
            self.pass_some_rows_on(&mut sources, &dispatch, &mut described)
                .await?;
        }
        let order = match tells {
            [] => order_of_rows(spread, &errands),
            _ => Vec::new(),
        };
        self.pass_rows_on(&mut sources, &dispatch, &order, &mut described)
            .await
    }

    fn send_errands_simply(
        &mut self,
        links: &[usize],
        dispatch: &Dispatch<'_>,
        moment: Option<&str>,
        spread: &Spread,
    ) {
        for (errand, &index) in dispatch.errands.iter().zip(links) {
            let link = &mut self.links[index];
            let (sql, types, parameters) = match &errand.own {
                Some(own) => {
                    let parameters = own.parameters.as_slice();
                    (
                        own.sql.as_str(),
                        vec![TIMESTAMPTZ; parameters.len()],
                        parameters,
                    )
                }
                None => (dispatch.own, Vec::new(), &[][..]),
            };
            let out = link.backend.out();
            encode::parse(out, b"", sql.as_bytes(), &types);
            frontend::bind_selected(out, None, b"", parameters, moment, hidden_columns(spread));
            if spread.returns_rows {
                // Every shard describes, one description is passed on: whichever comes first.
                encode::describe(out, b'P', b"");
            }
            encode::execute(out, b"", 0);
            encode::sync(out);
            link.backend.forget_unnamed();
        }
    }

    /// The types of the client's parameters, as far as they are known. Where one part of the statement decides the type of a
    /// parameter in another, a server tells it first.
    async fn parameter_types(
        &mut self,
        spread: &Spread,
        index: usize,
        own: &str,
        statement: &Arc<Statement>,
        sent: Sent<'_>,
    ) -> Step<Vec<u32>> {
        let mut types = statement.parameter_types.to_vec();
        types.resize(usize::from(spread.parameters).max(types.len()), 0);
        let repeats = matches!(&spread.kind, SpreadKind::Rows(rows) if rows.repeats);
        if !repeats || !types.contains(&0) {
            return Ok(types);
        }
        let learned = match spread.learned.types(sent.declared()) {
            Some(learned) => learned,
            None => {
                let found = self
                    .learn_types(index, (own, 0, false), own, &types, sent)
                    .await?;
                spread.learned.note(found)
            }
        };
        for (told, learned) in types.iter_mut().zip(&learned.parameters) {
            *told = *learned;
        }
        Ok(super::combine::portable_types(&types, own))
    }

    /// Writes one shard's part of a bound statement.
    async fn bind_errand(
        &mut self,
        index: usize,
        errand: &Errand,
        (statement, types): (&Arc<Statement>, &[u32]),
        message: &[u8],
        (moment, hidden): (Option<&str>, u16),
        catalog: &Arc<Catalog>,
    ) -> Step {
        let client = frontend::parse_bind(&message[5..])?;
        let of_shard = match &errand.own {
            None => statement.clone(),
            Some(own) => {
                let type_of = |parameter: &Option<u16>| match parameter {
                    Some(index) => types.get(usize::from(*index)).copied().unwrap_or(0),
                    None => TIMESTAMPTZ,
                };
                let types: Vec<u32> = own.parameters.iter().map(type_of).collect();
                self.statement_for_shard(statement, &own.sql, &types, catalog)?
            }
        };
        let passing = !of_shard.key.named
            && errand.own.is_some()
            && of_shard.reading.settings == self.derived.reading;
        let link = &mut self.links[index];
        if passing {
            // All shards read it at the same time.
            let out = link.backend.out();
            encode::parse(out, b"", of_shard.sql.as_bytes(), &of_shard.parameter_types);
            link.backend.forget_unnamed();
        } else if !link.backend.knows(of_shard.key) {
            self.ensure_known(index, &of_shard, false).await?;
            let link = &mut self.links[index];
            encode::sync(link.backend.out());
            link.expects.push_back(Expect::Sync { forward: false });
            self.exchange(index).await?;
        }
        let link = &mut self.links[index];
        let name = ServerName::of(of_shard.key);
        let name = if passing { &b""[..] } else { name.as_bytes() };
        let out = link.backend.out();
        match &errand.own {
            Some(own) => {
                frontend::bind_selected(out, Some(&client), name, &own.parameters, moment, hidden)
            }
            None => {
                let mut unnamed = client;
                unnamed.portal = b"";
                frontend::rewrite_bind(out, &unnamed, name);
            }
        }
        encode::execute(out, b"", 0);
        encode::sync(out);
        Ok(())
    }

    /// The statement that one shard knows its part by.
    fn statement_for_shard(
        &self,
        statement: &Arc<Statement>,
        sql: &str,
        types: &[u32],
        catalog: &Arc<Catalog>,
    ) -> Step<Arc<Statement>> {
        let named = statement.key.named
            && statement.reading.temporary.is_empty()
            && sql.len() <= NAMED_UP_TO_BYTES;
        if named {
            // With its own plan: a client may send the same text.
            return self.statement_of(sql, types, true, statement.reading.clone(), catalog);
        }
        Ok(Arc::new(Statement {
            key: self.router.statements.next_key(false),
            sql: sql.into(),
            parameter_types: types.into(),
            shape: Default::default(),
            ..Statement::clone(statement)
        }))
    }

    /// Passes on what RETURNING gives, up to the end of all answers. `order`: which source each row is of, as far as their
    /// order matters. The sum of the shards' row counts.
    async fn pass_rows_on(
        &mut self,
        sources: &mut [Source],
        dispatch: &Dispatch<'_>,
        order: &[usize],
        described: &mut bool,
    ) -> Step<u64> {
        for &at in order {
            while !sources[at].exhausted {
                if self.row_of(&mut sources[at], &dispatch.errands[at], dispatch, described)? {
                    self.pass_row(&sources[at], dispatch).await?;
                    break;
                }
                if !sources[at].exhausted {
                    self.fill_any(std::iter::once(&sources[at])).await?;
                }
            }
        }
        loop {
            let mut is_over = true;
            for (source, errand) in sources.iter_mut().zip(dispatch.errands) {
                while !source.ready && self.row_of(source, errand, dispatch, described)? {
                    self.pass_row(source, dispatch).await?;
                }
                is_over &= source.ready;
            }
            if is_over {
                return Ok(sources.iter().map(|source| source.affected).sum());
            }
            self.fill_any(sources.iter()).await?;
        }
    }

    /// Passes on rows of which some are left out: their keys tell where in VALUES they stand.
    async fn pass_some_rows_on(
        &mut self,
        sources: &mut [Source],
        dispatch: &Dispatch<'_>,
        described: &mut bool,
    ) -> Step {
        // For each source the number of its row at hand in VALUES, and how many of its rows are behind.
        let mut at_hand: Vec<Option<usize>> = vec![None; sources.len()];
        let mut behind = vec![0usize; sources.len()];
        loop {
            for at in 0..sources.len() {
                let errand = &dispatch.errands[at];
                while at_hand[at].is_none() && !sources[at].exhausted {
                    if self.row_of(&mut sources[at], errand, dispatch, described)? {
                        let input = self.links[sources[at].link].backend.input();
                        let total = frame::total_length(input).unwrap_or(0);
                        let key = dispatch.key(&input[5..total]);
                        let from = behind[at];
                        let keys = errand.keys.get(from..).unwrap_or_default();
                        let found = keys.iter().position(|known| Some(known) == key.as_ref());
                        let place = from + found.unwrap_or(0);
                        behind[at] = place + 1;
                        at_hand[at] = Some(errand.rows.get(place).copied().unwrap_or(usize::MAX));
                    } else if !sources[at].exhausted {
                        self.fill_any(std::iter::once(&sources[at])).await?;
                    }
                }
            }
            let next = at_hand
                .iter()
                .enumerate()
                .filter_map(|(at, row)| row.map(|row| (row, at)))
                .min();
            let Some((_, at)) = next else {
                return Ok(());
            };
            at_hand[at] = None;
            self.pass_row(&sources[at], dispatch).await?;
        }
    }

    /// Reads what has come of a source up to a row. `false`: there is none yet, or no more.
    fn row_of(
        &mut self,
        source: &mut Source,
        errand: &Errand,
        dispatch: &Dispatch<'_>,
        described: &mut bool,
    ) -> Step<bool> {
        self.look_out_for_error(source.link, errand, dispatch)?;
        self.head(source, described, dispatch.hidden())
    }

    /// An error names a place in the shard's text, which the client knows as another.
    fn look_out_for_error(
        &mut self,
        index: usize,
        errand: &Errand,
        dispatch: &Dispatch<'_>,
    ) -> Step {
        let link = &mut self.links[index];
        let mut rest = link.backend.input();
        while let Some(found) =
            frame::next_frame(rest, &link.limits).map_err(LinkError::Protocol)?
        {
            if found.tag == b'D' {
                return Ok(());
            }
            if found.tag == b'E' {
                let fields = backend::error_fields(&rest[5..found.total]);
                if fields.sqlstate == "2200H" {
                    self.lease_sequences();
                }
                let link = &mut self.links[index];
                link.position_offset = match (&errand.own, fields.position) {
                    (Some(own), Some(position)) => {
                        let there = own.client_position(dispatch.own, position);
                        let moved = i64::try_from(there).unwrap_or(0)
                            - i64::try_from(position).unwrap_or(0);
                        dispatch.offset + i32::try_from(moved).unwrap_or(0)
                    }
                    _ => dispatch.offset,
                };
                return Ok(());
            }
            rest = &rest[found.total..];
        }
        Ok(())
    }

    async fn pass_row(&mut self, source: &Source, dispatch: &Dispatch<'_>) -> Step {
        let link = &mut self.links[source.link];
        let total = frame::total_length(link.backend.input()).unwrap_or(0);
        let row = &link.backend.input()[..total];
        backend::data_row_without(&mut self.client.out, row, dispatch.hidden())
            .map_err(LinkError::Protocol)?;
        link.backend.consume(total);
        if self.client.out.len() >= SEND_AT_BYTES {
            self.client.flush().await.map_err(LinkError::Client)?;
        }
        Ok(())
    }

    /// The plan for a write whose values lead to several shards. `refusal`: what came of its route.
    pub(super) fn spread_instead(
        &self,
        single: &Single,
        planned: &Planned,
        whole: &str,
        values: &dyn Values,
        refusal: Failure,
        catalog: &Catalog,
    ) -> Step<Planned> {
        let shards = planner::resolve_all(&single.route, catalog, values).ok();
        if let Some(known) = single.instead.get() {
            return Ok(Planned {
                plan: on_shards(known, shards),
                ..planned.clone()
            });
        }
        let manual = self.manual_shard(catalog)?;
        let start = planned.part.as_ref().map_or(0, |part| part.start);
        let context = self.context(catalog, manual);
        match planner::plan_several(whole, start, shards, &context) {
            Ok(several) => {
                if by_parameters(&single.route) {
                    single.instead.note(several.plan.clone());
                }
                Ok(several)
            }
            // What several shards cannot do either, they say better.
            Err(error @ planner::Error::Unsupported { .. }) => Err(Report::from(error).into()),
            Err(_) => Err(refusal),
        }
    }

    /// Whether the session lets a write ask all shards.
    pub(super) fn allow_spread(&mut self, plan: &Plan, catalog: &Catalog) -> Step {
        match plan {
            Plan::Spread(spread) if matches!(spread.kind, SpreadKind::Each(_)) => {
                self.allow_several(plan, catalog)
            }
            _ => Ok(()),
        }
    }
}

/// How many columns come before the client's.
fn hidden_columns(spread: &Spread) -> u16 {
    match &spread.kind {
        SpreadKind::Rows(rows) => u16::try_from(rows.tells.len()).unwrap_or(u16::MAX),
        SpreadKind::Each(_) => 0,
    }
}

/// Which errand each row of VALUES is in; nothing if no rows are to be returned.
fn order_of_rows(spread: &Spread, errands: &[Errand]) -> Vec<usize> {
    if !spread.returns_rows {
        return Vec::new();
    }
    let mut order: Vec<(usize, usize)> = errands
        .iter()
        .enumerate()
        .flat_map(|(at, errand)| errand.rows.iter().map(move |row| (*row, at)))
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(_, at)| at).collect()
}

/// Whether the text is the same at each execution: values come beside it.
fn by_parameters(route: &Route) -> bool {
    let Route::Key(route) = route else {
        return false;
    };
    let mut sources = route.keys.iter().flat_map(|key| &key.sources);
    sources.all(|source| !matches!(source, KeySource::Literal { .. }))
        && route
            .keys
            .iter()
            .flat_map(|key| &key.sources)
            .any(|source| matches!(source, KeySource::Parameter { .. }))
}

/// A plan of values that led to several shards is of these, where it runs the same on each.
pub(super) fn on_shards(plan: &Arc<Plan>, shards: Option<Vec<ShardId>>) -> Arc<Plan> {
    match &**plan {
        Plan::Spread(spread) if matches!(spread.kind, SpreadKind::Each(_)) => {
            Arc::new(Plan::Spread(Spread {
                kind: SpreadKind::Each(shards),
                ..spread.clone()
            }))
        }
        _ => plan.clone(),
    }
}
