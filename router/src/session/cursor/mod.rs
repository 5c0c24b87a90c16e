//! Cursors over several shards: queries whose rows are asked for in parts, by Execute with a row limit or by FETCH.
//!
//! Entry points: [`Session::execute_portal`] for the extended protocol, [`Session::declare`](super::Session) and its like in `sql`
//! for SQL, and [`Session::close_cursors`] where portals end. A cursor is opened on the shards (`shards`), which keep a portal
//! each, or on a merge session (`merge`), which keeps the rows; [`Cursor`] says which.
//!
//! Invariants: between two parts the links are idle, so that other statements of the block may use them. A cursor goes with its
//! portal, and no cursor but a held one outlives its block.

mod merge;
mod shards;
mod sql;

use std::sync::Arc;

use planner::{Gather, Plan, Scatter};

use super::gather::{Opening, Sent, Wanted};
use super::portal::{LocalPortal, Portal};
use super::report::{Failure, Report};
use super::{Session, Step};
use crate::wire::{encode, frontend};

use merge::MergeCursor;
use shards::{ShardCursor, Show};

/// So many connections of merge pools a session may keep in open cursors, so that a few sessions cannot have them all.
const MOST_MERGES_HELD: usize = 4;

/// The rows of an open query.
pub(super) enum Cursor {
    Shards(Box<ShardCursor>),
    Merge(Box<MergeCursor>),
    /// Reading it has failed. Nothing more comes of it.
    Failed,
}

/// All rows, as a number of them.
const ALL: u64 = u64::MAX;

impl Session {
    /// Executes a portal of the router's own.
    pub(super) async fn execute_portal(
        &mut self,
        name: &[u8],
        portal: &LocalPortal,
        max_rows: i32,
    ) -> Step {
        if !portal.is_over_several() {
            if portal.spent {
                let name = String::from_utf8_lossy(name);
                let cannot = format!("portal \"{name}\" cannot be run");
                return Err(Report::error("55000", cannot).into());
            }
            self.note_spent(name);
            return self
                .execute_local(&portal.statement, &portal.bind, max_rows)
                .await;
        }
        if self.block.as_ref().is_some_and(|block| block.failed) {
            return Err(Report::failed_block().into());
        }
        if self.cursor(portal.number).is_none() {
            if portal.spent {
                encode::command_complete(&mut self.client.out, "SELECT 0");
                return Ok(());
            }
            // Without a block there is no next part: the portal ends with its batch.
            if self.block.is_none() || max_rows <= 0 {
                self.note_spent(name);
                return self
                    .execute_local(&portal.statement, &portal.bind, max_rows)
                    .await;
            }
            self.open_cursor(portal, None, 0).await?;
        }
        let mut cursor = self.take_cursor(portal.number);
        let result = match &mut cursor {
            Some(Cursor::Shards(cursor)) => {
                let most = u64::try_from(max_rows).ok().filter(|most| *most > 0);
                let read = self
                    .read_shards(cursor, most.unwrap_or(ALL), &mut Show::Rows)
                    .await;
                read.map(|rows| match most {
                    Some(most) if rows == most => encode::portal_suspended(&mut self.client.out),
                    _ => encode::command_complete(&mut self.client.out, &format!("SELECT {rows}")),
                })
            }
            Some(Cursor::Merge(cursor)) => self.execute_on_merge(cursor, max_rows).await,
            Some(Cursor::Failed) | None => Err(failed_portal(name)),
        };
        self.put_back(portal.number, cursor, result).await
    }

    /// Opens the cursor of a portal. `declare`: what makes a cursor of the query, if SQL has; `offset`: where the query begins
    /// in the client's text.
    pub(super) async fn open_cursor(
        &mut self,
        portal: &LocalPortal,
        declare: Option<Declared<'_>>,
        offset: i32,
    ) -> Step {
        self.drain().await?;
        if let Some(plan) = portal.statement.plan() {
            let catalog = self.catalog();
            self.allow_several(plan, &catalog)?;
        }
        let opening = Opening {
            name: match declare {
                Some(declare) => declare.name.to_owned(),
                None => format!("pgweave_p{}", portal.number),
            },
            declare: declare.map(Declared::text),
        };
        let on_merge = declare.is_some_and(|declare| declare.scroll == Some(true) || declare.hold);
        let cursor = match portal.statement.plan() {
            Some(Plan::Scatter(scatter)) if !on_merge => {
                Box::pin(self.open_on_shards(portal, scatter, opening, offset)).await?
            }
            Some(Plan::Scatter(Scatter {
                otherwise: Some(gather),
                ..
            })) => Box::pin(self.open_on_merge(portal, gather, opening, offset)).await?,
            Some(Plan::Gather(gather)) => {
                Box::pin(self.open_on_merge(portal, gather, opening, offset)).await?
            }
            _ => {
                return Err(Report::error(
                    "0A000",
                    "a cursor over this query of several shards can neither be scrolled nor held",
                )
                .hint("Declare it without SCROLL and WITH HOLD.")
                .into());
            }
        };
        self.open_cursors.push((portal.number, cursor));
        Ok(())
    }

    async fn open_on_merge(
        &mut self,
        portal: &LocalPortal,
        gather: &Gather,
        opening: Opening,
        offset: i32,
    ) -> Step<Cursor> {
        let catalog = self.catalog();
        let formatting = self.settings.formatting();
        let sql = &portal.statement.sql;
        let sent = Sent::Bound(&portal.statement, &portal.bind, Wanted::Cursor(&opening));
        let link = self.run_gather(gather, sql, offset, sent, &catalog).await?;
        let link = link.ok_or_else(|| Report::error("XX000", "a query was not opened"))?;
        let declared = sent.declared();
        let types = match &gather.combine {
            Some(combine) => combine.learned.types(declared),
            None => None,
        };
        let types = types.or_else(|| gather.learned.types(declared));
        let description = types.map(|types| types.description.clone());
        Ok(Cursor::Merge(Box::new(MergeCursor {
            link,
            name: opening.name,
            description: description.unwrap_or_default(),
            formatting,
            is_held: false,
        })))
    }

    /// Merge sessions are shared: a session must not keep many.
    pub(super) fn check_merges_held(&self) -> Step {
        let is_merge = |(_, cursor): &&(u64, Cursor)| matches!(cursor, Cursor::Merge(_));
        if self.open_cursors.iter().filter(is_merge).count() < MOST_MERGES_HELD {
            return Ok(());
        }
        Err(Report::error(
            "53400",
            format!("this session has {MOST_MERGES_HELD} cursors open that each keep a connection with rows of several shards"),
        )
        .hint("Close one of them, or read its rows at once and not in parts.")
        .into())
    }

    fn cursor(&self, number: u64) -> Option<&Cursor> {
        let found = self.open_cursors.iter().find(|(known, _)| *known == number);
        found.map(|(_, cursor)| cursor)
    }

    /// While a cursor is read it is not in the session.
    fn take_cursor(&mut self, number: u64) -> Option<Cursor> {
        let at = self
            .open_cursors
            .iter()
            .position(|(known, _)| *known == number)?;
        Some(self.open_cursors.swap_remove(at).1)
    }

    async fn put_back(&mut self, number: u64, cursor: Option<Cursor>, result: Step) -> Step {
        let Some(cursor) = cursor else {
            return result;
        };
        let kept = match (cursor, &result) {
            (cursor, Ok(())) => cursor,
            // What another has kept from being read can be read later.
            (cursor, Err(Failure::Report(report))) if report.sqlstate == "0A000" => cursor,
            (Cursor::Merge(merge), Err(_)) => {
                self.close_merge_cursor(*merge).await;
                Cursor::Failed
            }
            (Cursor::Shards(_) | Cursor::Failed, Err(_)) => Cursor::Failed,
        };
        self.open_cursors.push((number, kept));
        result
    }

    /// Whether the portal that is being bound is executed by the next message, so that nothing can happen in between.
    pub(super) fn is_executed_next(&self) -> bool {
        let mut tags = self.client.upcoming_tags();
        tags.find(|tag| *tag != b'D') == Some(b'E')
    }

    /// Closes the cursors that no portal names any more.
    pub(super) async fn close_cursors(&mut self) -> Step {
        let mut at = 0;
        while let Some((number, _)) = self.open_cursors.get(at) {
            if self
                .portals
                .iter()
                .any(|(_, portal)| portal.has_number(*number))
            {
                at += 1;
                continue;
            }
            let is_failed = self.block.as_ref().is_some_and(|block| block.failed);
            let is_merge = matches!(self.open_cursors[at].1, Cursor::Merge(_));
            if is_failed && !is_merge {
                // Its portals end with the block, or are closed when that goes on from a savepoint.
                at += 1;
                continue;
            }
            match self.open_cursors.swap_remove(at).1 {
                Cursor::Shards(cursor) if self.block.is_some() => {
                    Box::pin(self.close_on_shards(*cursor)).await?;
                }
                Cursor::Merge(cursor) => Box::pin(self.close_merge_cursor(*cursor)).await,
                Cursor::Shards(_) | Cursor::Failed => {}
            }
        }
        Ok(())
    }

    /// The block has ended, and with it all portals but the cursors that are held.
    pub(super) async fn end_portals(&mut self) -> Step {
        if self.portals.is_empty() && self.open_cursors.is_empty() {
            return Ok(());
        }
        let open = &self.open_cursors;
        let is_held = |number: u64| {
            open.iter().any(|(known, cursor)| {
                *known == number && matches!(cursor, Cursor::Merge(merge) if merge.is_held)
            })
        };
        self.portals
            .retain(|(_, portal)| matches!(portal, Portal::Local(local) if is_held(local.number)));
        Box::pin(self.close_cursors()).await
    }

    /// The session is over.
    pub(super) async fn give_up_cursors(&mut self) {
        for (_, cursor) in std::mem::take(&mut self.open_cursors) {
            if let Cursor::Merge(cursor) = cursor {
                self.close_merge_cursor(*cursor).await;
            }
        }
    }

    /// Back to a savepoint: portals that are younger are gone.
    pub(super) async fn portals_rolled_back(&mut self, savepoint: &str) -> Step {
        if let Some(next) = self.portal_marks.rollback_to(savepoint) {
            self.portals.retain(
                |(_, portal)| !matches!(portal, Portal::Local(local) if local.number >= next),
            );
        }
        self.close_cursors().await
    }
}

/// What DECLARE says of a cursor.
#[derive(Clone, Copy)]
pub(super) struct Declared<'a> {
    pub name: &'a str,
    pub hold: bool,
    pub scroll: Option<bool>,
    pub binary: bool,
}

impl Declared<'_> {
    /// As it was said, up to the query.
    fn text(self) -> String {
        let mut sql = String::from("DECLARE ");
        super::block::push_identifier(&mut sql, self.name);
        if self.binary {
            sql.push_str(" BINARY");
        }
        sql.push_str(match self.scroll {
            Some(true) => " SCROLL",
            Some(false) => " NO SCROLL",
            None => "",
        });
        sql.push_str(if self.hold {
            " CURSOR WITH HOLD FOR "
        } else {
            " CURSOR FOR "
        });
        sql
    }
}

fn failed_portal(name: &[u8]) -> Failure {
    let name = String::from_utf8_lossy(name);
    Report::error("55000", format!("portal \"{name}\" cannot be run")).into()
}

/// A Bind message without values, for columns that are text, or binary.
fn plain_bind(is_binary: bool) -> Arc<[u8]> {
    frontend::bind_with_format(None, i16::from(is_binary)).into()
}
