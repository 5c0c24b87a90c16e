//! A query over partial aggregates: shards aggregate their own rows, and one server finishes over what they say.
//!
//! Few rows become parameters of the finishing query (`small`), which one of the shards runs that gave them. More become a
//! temporary table of a merge session, without being looked at: a DataRow in binary has the bytes of a row of binary COPY.

use std::sync::Arc;
use std::time::Instant;

use catalog::Catalog;
use planner::{Access, Combine, Gather, Types};

use super::bringing::Moved;
use super::finish::finish_text;
use super::gather::{Sent, Wanted};
use super::links::Need;
use super::report::{Failure, Report};
use super::scatter::{Asked, MOMENT, Question, Source, TIMESTAMPTZ};
use super::small::{Held, partial_relation};
use super::{Session, Step};
use crate::execute::expect::Expect;
use crate::execute::{Link, LinkError};
use crate::merge::arrays::array_type;
use crate::wire::frontend::ShardBind;
use crate::wire::{backend, encode, frontend};

/// What is moved, for an error.
const PARTIAL: &str = "partial aggregates";

/// The temporary table of the shards' rows.
const RELATION: &str = "pg_temp.pgweave_relation";

/// What the finishing query is told besides the client's own values.
#[derive(Clone, Copy, Default)]
pub(super) struct Told<'a> {
    /// The time of the transaction.
    pub moment: Option<&'a str>,
    /// Rows as arrays, in binary, and the types of their elements.
    pub arrays: &'a [Vec<u8>],
    pub array_types: &'a [u32],
}

impl Session {
    /// Runs the query and leaves its answer in the client's output. `whole`: the text that was planned.
    pub(super) async fn run_combine(
        &mut self,
        gather: &Gather,
        combine: &Combine,
        whole: &str,
        offset: i32,
        sent: Sent<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step<Option<Link>> {
        let began = Instant::now();
        self.drain().await?;
        let shards = self.shards_of_group(combine.shards.as_deref(), combine.group, catalog)?;
        let links = self.link_all(&shards, Access::Read, catalog).await?;
        let ask = async |session: &mut Session| {
            let question = (gather, combine, links.as_slice());
            session
                .combine_from(question, whole, offset, sent, catalog)
                .await
        };
        self.within_timeout(links[0], began, ask).await
    }

    /// Asks these links for partial results, and has a server finish over them.
    async fn combine_from(
        &mut self,
        (gather, combine, links): (&Gather, &Combine, &[usize]),
        whole: &str,
        offset: i32,
        sent: Sent<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step<Option<Link>> {
        let own = whole.get(gather.statement.clone()).unwrap_or(whole);
        if combine.learned.types(sent.declared()).is_none() {
            let mut declared = sent.declared().to_vec();
            if combine.moment {
                declared.resize(usize::from(gather.parameters), 0);
                declared.push(TIMESTAMPTZ);
            }
            let mut learned = self
                .learn_types(links[0], (own, offset, true), &combine.sql, &declared, sent)
                .await?;
            if learned.portable {
                learned.shapes = self.partial_shapes(links[0], combine, &learned).await?;
            } else {
                learned.portable = self.are_enums(links[0], &learned.columns).await?;
            }
            combine.learned.note(learned);
        }
        let types = combine.learned.types(sent.declared());
        let finish = types.and_then(|types| Some((finish_text(combine, &types, RELATION)?, types)));
        let Some((finish, types)) = finish else {
            return match &combine.otherwise {
                Some(gather) => {
                    if let Some(measures) = &mut self.measures {
                        measures.other_ways += 1;
                    }
                    Box::pin(self.run_gather(gather, whole, offset, sent, catalog)).await
                }
                None => Err(Report::error(
                    "0A000",
                    "partial aggregates of these types cannot be combined exactly, and the rows cannot be brought to one server",
                )
                .into()),
            };
        };
        if self.block.is_some() {
            self.link(
                Need::shard(self.finishing_shard(gather)?, Access::Read),
                catalog,
            )
            .await?;
            self.drain().await?;
            self.check_own_locks(gather).await?;
        }
        let width = u16::try_from(types.columns.len()).unwrap_or(u16::MAX);
        let moment = match combine.moment {
            true => Some(self.query_value(links[0], MOMENT).await?),
            false => None,
        };
        let moment = moment.as_deref();
        let parameter_types = own_types(&types, &combine.sql, combine.moment);
        let question = Question {
            own: (own, offset),
            sql: Some(&combine.sql),
            types: &parameter_types,
            bind: ShardBind {
                moment,
                hidden: width,
                ..ShardBind::default()
            },
            asked: Asked::Rows(0),
        };
        self.ask_shards(links, question, sent).await?;
        let mut sources = Source::of(links);
        let mut held = Held::default();
        if sent.takes_values()
            && let Some(relation) = partial_relation(&types, combine.moment)
            && let Some(finish) = finish_text(combine, &types, &relation)
        {
            let mut moved = Moved::default();
            held = self.hold(&mut sources, PARTIAL, &mut moved).await?;
            if held.is_all {
                let arrays = held.arrays(&types.columns)?;
                let told = Told {
                    moment,
                    arrays: &arrays,
                    array_types: &types.columns,
                };
                let finishing = self.finishing_shard(gather)?;
                let mut among = links.iter().copied();
                let here = among.find(|link| self.links[*link].shard == finishing);
                let here = here.unwrap_or(links[0]);
                return self
                    .finish_here(here, &finish, &types, told, sent)
                    .await
                    .map(|()| None);
            }
        }
        let mut merge = self.merge_link(gather, catalog).await?;
        let result = match self.open_merge(&mut merge).await {
            Ok(()) => {
                let finish = (finish.as_str(), moment);
                self.combine_on(
                    &mut merge,
                    combine,
                    &types,
                    (&mut sources, &held),
                    finish,
                    sent,
                )
                .await
            }
            failed => failed,
        };
        let kept = self.keep_or_close(merge, sent, result.is_ok()).await;
        result.map(|()| kept)
    }

    /// Runs the finishing query on a connection of the session's own.
    pub(super) async fn finish_here(
        &mut self,
        index: usize,
        finish: &str,
        types: &Types,
        told: Told<'_>,
        sent: Sent<'_>,
    ) -> Step {
        let mut link = self.links.remove(index);
        let result = self.finish_on(&mut link, finish, types, told, sent).await;
        self.links.insert(index, link);
        result
    }

    /// Finishes over a temporary table of the shards' rows, and of those that have been read already.
    async fn combine_on(
        &mut self,
        merge: &mut Link,
        combine: &Combine,
        types: &Types,
        (sources, held): (&mut [Source], &Held),
        (finish, moment): (&str, Option<&str>),
        sent: Sent<'_>,
    ) -> Step {
        let (sql, moment_type) = (&combine.sql, combine.moment);
        self.make_table_of(merge, RELATION, (sql, moment_type), types, moment, sent)
            .await?;
        let copy = format!("COPY {RELATION} FROM STDIN (FORMAT binary)");
        let mut moved = Moved::default();
        self.copy_rows(merge, &copy, (sources, held), PARTIAL, &mut moved)
            .await?;
        let told = Told {
            moment,
            ..Told::default()
        };
        self.finish_on(merge, finish, types, told, sent).await
    }

    /// Makes an empty temporary table for the rows of a query. `timed`: it has the time of the transaction as a parameter.
    pub(super) async fn make_table_of(
        &mut self,
        merge: &mut Link,
        name: &str,
        (sql, timed): (&str, bool),
        types: &Types,
        moment: Option<&str>,
        sent: Sent<'_>,
    ) -> Step {
        let make = format!("CREATE TEMP TABLE {name} ON COMMIT DROP AS {sql} WITH NO DATA");
        let client = match sent {
            Sent::Simple => None,
            Sent::Bound(_, message, _) => Some(frontend::parse_bind(&message[5..])?),
        };
        let bind = ShardBind {
            moment,
            ..ShardBind::default()
        };
        let out = merge.backend.out();
        encode::parse(out, b"", make.as_bytes(), &own_types(types, sql, timed));
        bind.write(out, b"", client.as_ref(), b"");
        encode::execute(out, b"", 0);
        encode::sync(out);
        merge.backend.forget_unnamed();
        self.flush_merge(merge).await?;
        self.await_merge(merge, b'Z').await.map(drop)
    }

    /// Runs the finishing query, whose answer is the client's.
    pub(super) async fn finish_on(
        &mut self,
        merge: &mut Link,
        sql: &str,
        types: &Types,
        told: Told<'_>,
        sent: Sent<'_>,
    ) -> Step {
        let out = merge.backend.out();
        let bind = ShardBind {
            moment: told.moment,
            values: told.arrays,
            ..ShardBind::default()
        };
        if let Sent::Bound(_, _, Wanted::Copy(around)) = sent {
            return self.copy_from_merge(merge, sql, around).await;
        }
        let mut parameter_types = own_types(types, sql, told.moment.is_some());
        let array_types = told.array_types.iter().filter_map(|oid| array_type(*oid));
        parameter_types.extend(array_types);
        let declared = sent.opening().and_then(|opening| opening.declare.as_ref());
        let asked = declared.map_or(String::new(), String::clone) + sql;
        encode::parse(out, b"", asked.as_bytes(), &parameter_types);
        match sent {
            Sent::Simple => {
                bind.write(out, b"", None, b"");
                encode::describe(out, b'P', b"");
                encode::execute(out, b"", 0);
            }
            // Has been seen to.
            Sent::Bound(_, _, Wanted::Copy(..)) => {}
            Sent::Bound(_, message, Wanted::Rows(max_rows)) => {
                let client = frontend::parse_bind(&message[5..])?;
                bind.write(out, b"", Some(&client), b"");
                encode::execute(out, b"", max_rows);
                merge.expects.extend([Expect::Swallowed, Expect::Swallowed]);
            }
            Sent::Bound(_, message, Wanted::Cursor(opening)) => {
                let client = frontend::parse_bind(&message[5..])?;
                if opening.declare.is_none() {
                    bind.write(out, opening.name.as_bytes(), Some(&client), b"");
                } else {
                    bind.write(out, b"", Some(&client), b"");
                    encode::execute(out, b"", 0);
                }
                encode::sync(out);
                merge.backend.forget_unnamed();
                self.flush_merge(merge).await?;
                return self.await_merge(merge, b'Z').await.map(drop);
            }
        }
        encode::sync(merge.backend.out());
        merge.backend.forget_unnamed();
        if matches!(sent, Sent::Simple) {
            // From now on errors are of the finishing server, after its description or before it.
            self.has_begun = false;
            self.flush_merge(merge).await?;
            // Columns come from where they come from in the client's own statement.
            let mut body = self.await_merge(merge, b'T').await?;
            backend::copy_origins(&mut body, &types.description);
            backend::row_description_without(&mut self.client.out, &body, 0)
                .map_err(LinkError::Protocol)?;
        }
        merge.expects.extend([
            Expect::Execute { planned: None },
            Expect::Sync { forward: false },
        ]);
        self.exchange_merge(merge).await
    }

    /// A query has failed while a shard executed its part: PostgreSQL describes the result first, and then says so. `before`: where
    /// the query's answer begins.
    pub(super) fn describe_failed(&mut self, gather: &Gather, before: u64) -> Step {
        if !std::mem::take(&mut self.has_begun) {
            return Ok(());
        }
        let learned = gather.combine.as_ref().map(|combine| &combine.learned);
        let types = learned.unwrap_or(&gather.learned).types(&[]);
        let Some(types) = types.filter(|types| !types.description.is_empty()) else {
            return Ok(());
        };
        let at = self.client.offset_of(before).min(self.client.out.len());
        let after = self.client.out.split_off(at);
        backend::row_description_without(&mut self.client.out, &types.description, 0)
            .map_err(LinkError::Protocol)?;
        self.client.out.unsplit(after);
        Ok(())
    }

    /// Whether the types that users have made among these are enums, whose binary form is their text.
    async fn are_enums(&mut self, index: usize, types: &[u32]) -> Step<bool> {
        let own: Vec<String> = types
            .iter()
            .filter(|oid| !super::gather::is_exact_in_binary(**oid))
            .map(u32::to_string)
            .collect();
        let sql = format!(
            "SELECT pg_catalog.bool_and(typtype = 'e') FROM pg_catalog.pg_type WHERE oid IN ({})",
            own.join(", ")
        );
        Ok(self.query_value(index, &sql).await? == "t")
    }
}

/// Types of parameters for a server other than the one that told them: users' types have other numbers there. What stands in
/// the query gets its type from it; what does not is of no matter.
pub(super) fn portable_types(types: &[u32], sql: &str) -> Vec<u32> {
    if types
        .iter()
        .all(|oid| super::gather::is_exact_in_binary(*oid))
    {
        return types.to_vec();
    }
    let used = planner::parameters_in(sql);
    (0u16..)
        .zip(types)
        .map(
            |(index, oid)| match super::gather::is_exact_in_binary(*oid) {
                true => *oid,
                false if used.contains(&index) => 0,
                false => TEXT,
            },
        )
        .collect()
}

/// The types of the client's parameters and of the router's own.
pub(super) fn own_types(types: &Types, sql: &str, moment: bool) -> Vec<u32> {
    let mut types = portable_types(&types.parameters, sql);
    types.extend(moment.then_some(TIMESTAMPTZ));
    types
}

/// `text`
const TEXT: u32 = 25;

/// Links of a group's shards.
impl Session {
    /// The shards that a query of this group is asked of.
    pub(super) fn shards_of_group(
        &self,
        only: Option<&[catalog::ShardId]>,
        group: catalog::GroupId,
        catalog: &Catalog,
    ) -> Step<Vec<catalog::ShardId>> {
        if let Some(shards) = only {
            return Ok(shards.to_vec());
        }
        let group = catalog.group(group).ok_or_else(|| {
            let unknown = "a plan names a colocation group that the catalog does not have";
            Failure::from(Report::error("XX000", unknown))
        })?;
        Ok(group.map.shards().into_iter().collect())
    }

    /// Links of all these shards, which are in order: two sessions must not each wait for a connection that the other has.
    pub(super) async fn link_all(
        &mut self,
        shards: &[catalog::ShardId],
        access: Access,
        catalog: &Catalog,
    ) -> Step<Vec<usize>> {
        let mut links = Vec::with_capacity(shards.len());
        for shard in shards {
            links.push(self.link(Need::shard(*shard, access), catalog).await?);
        }
        // What opens a block is answered first: from here on only rows are expected.
        self.drain().await?;
        if links.is_empty() {
            return Err(Report::error("XX000", "a query is to be asked of no shard").into());
        }
        Ok(links)
    }
}
