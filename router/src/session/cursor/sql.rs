//! Cursors by SQL: DECLARE, FETCH, MOVE and CLOSE where several shards answer the query.
//!
//! A cursor is a portal with a name, so that Execute and Describe find it as well, and FETCH finds what Bind has made.

use std::sync::Arc;

use bytes::BytesMut;
use catalog::Catalog;
use planner::{Course, Plan, SessionStatement, Values};

use super::{
    ALL, Cursor, Declared, LocalPortal, Portal, Session, ShardCursor, Show, Step, failed_portal,
    plain_bind,
};
use crate::session::extended::BindValues;
use crate::session::prepared::Statement;
use crate::session::report::{Failure, Report};
use crate::session::simple::Part;
use crate::wire::{backend, encode, frontend};

impl Session {
    /// Declares a cursor over several shards. `query`: its bytes in the statement's text.
    pub(in crate::session) async fn declare_over_several(
        &mut self,
        declared: Declared<'_>,
        query: std::ops::Range<usize>,
        part: Part<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step {
        if self.block.is_none() && !declared.hold {
            let outside = "DECLARE CURSOR can only be used in transaction blocks";
            return Err(Report::error("25P01", outside).into());
        }
        let name = declared.name;
        if self
            .portals
            .iter()
            .any(|(known, _)| **known == *name.as_bytes())
        {
            let known = format!("cursor \"{name}\" already exists");
            return Err(Report::error("42P03", known).into());
        }
        let before = part.text.get(..query.start).unwrap_or_default();
        let offset = part.offset + i32::try_from(before.chars().count()).unwrap_or(0);
        let text = part.text.get(query).unwrap_or_default();
        let bind = match part.bound {
            Some((_, message)) => {
                let client = frontend::parse_bind(&message[5..])?;
                frontend::bind_with_format(Some(&client), i16::from(declared.binary)).into()
            }
            None => plain_bind(declared.binary),
        };
        let types = part.bound.map_or(&[][..], |(types, _)| types);
        let statement = self.statement_of(text, types, false, self.reading(), catalog)?;
        let statement = self.for_several(statement, &bind, catalog)?;
        let portal = LocalPortal {
            declared: true,
            hold: declared.hold,
            ..self.local_portal(statement, bind)
        };
        self.open_cursor(&portal, Some(declared), offset).await?;
        let number = portal.number;
        self.portals
            .push((name.as_bytes().into(), Portal::Local(portal)));
        if self.block.is_none() {
            let held = self.hold_cursors().await;
            if held.is_err() {
                self.portals
                    .retain(|(_, portal)| !portal.has_number(number));
                self.close_cursors().await?;
            }
            held?;
        }
        Ok(())
    }

    /// The statement, planned for several shards if that is where these values lead.
    pub(in crate::session) fn for_several(
        &self,
        statement: Arc<Statement>,
        bind: &[u8],
        catalog: &Arc<Catalog>,
    ) -> Step<Arc<Statement>> {
        let (Some(planned), Some(Plan::Single(single))) = (&statement.planned, statement.plan())
        else {
            return Ok(statement);
        };
        let client = frontend::parse_bind(&bind[5..])?;
        let values: &dyn Values = &BindValues {
            types: &statement.parameter_types,
            bind: &client,
        };
        let Err(refusal) = self.need_of(single, values, catalog) else {
            let one = "a cursor of one shard was to be opened on several";
            return Err(Report::error("XX000", one).into());
        };
        let several = self.over_several(planned, &statement.sql, values, refusal, catalog)?;
        Ok(Arc::new(Statement {
            planned: Some(Arc::new(several)),
            ..Statement::clone(&statement)
        }))
    }

    /// The portal of this name, if it is of a query over several shards.
    pub(in crate::session) fn several_portal(&self, name: &str) -> Option<&LocalPortal> {
        self.portals
            .iter()
            .find_map(|(known, portal)| match portal {
                Portal::Local(local) if **known == *name.as_bytes() && local.is_over_several() => {
                    Some(local)
                }
                _ => None,
            })
    }

    /// The query of the cursor over several shards that a FETCH names.
    pub(in crate::session) fn fetched_statement(
        &self,
        statement: &Statement,
    ) -> Option<Arc<Statement>> {
        match statement.plan() {
            Some(Plan::Session(SessionStatement::Fetch {
                name,
                is_move: false,
                ..
            })) => Some(self.several_portal(name)?.statement.clone()),
            _ => None,
        }
    }

    /// FETCH, or MOVE.
    pub(in crate::session) async fn fetch(
        &mut self,
        name: &str,
        course: Course,
        is_move: bool,
        part: Part<'_>,
    ) -> Step {
        let Some(portal) = self.several_portal(name).cloned() else {
            return Err(failed_portal(name.as_bytes()));
        };
        let bind: Arc<[u8]> = match part.bound {
            Some((_, message)) => message.into(),
            None if portal.declared => portal.bind.clone(),
            None => plain_bind(false),
        };
        if self.cursor(portal.number).is_none() {
            if portal.spent {
                return Err(Report::error(
                    "0A000",
                    format!("FETCH from portal \"{name}\", which has been executed already"),
                )
                .hint("Declare a cursor.")
                .into());
            }
            self.open_cursor(&portal, None, 0).await?;
        }
        let described = part.bound.is_none() && !is_move;
        let mut cursor = self.take_cursor(portal.number);
        let result = match &mut cursor {
            Some(Cursor::Merge(cursor)) => {
                self.fetch_on_merge(cursor, course, is_move, &bind, described)
                    .await
            }
            Some(Cursor::Shards(cursor)) => {
                self.fetch_on_shards(cursor, &portal, course, is_move, &bind, described)
                    .await
            }
            Some(Cursor::Failed) | None => Err(failed_portal(name.as_bytes())),
        };
        self.put_back(portal.number, cursor, result).await
    }

    async fn fetch_on_shards(
        &mut self,
        cursor: &mut ShardCursor,
        portal: &LocalPortal,
        course: Course,
        is_move: bool,
        bind: &Arc<[u8]>,
        described: bool,
    ) -> Step {
        // MOVE shows nothing; of a cursor that nobody has read it tells in which format its client reads.
        if !is_move || portal.declared && !cursor.has_begun {
            self.choose_formats(cursor, portal, bind)?;
        }
        let (skipped, most) = forward(course, cursor.position, cursor.is_at_end)?;
        let mut show = if is_move {
            Show::Hidden(BytesMut::new())
        } else if described {
            let description = self.describe_fetched(cursor, portal, bind).await?;
            Show::Described(BytesMut::new(), description)
        } else {
            Show::Rows
        };
        if skipped > 0 {
            let mut hidden = Show::Hidden(BytesMut::new());
            self.read_shards(cursor, skipped, &mut hidden).await?;
        }
        let rows = self.read_shards(cursor, most, &mut show).await?;
        let verb = if is_move { "MOVE" } else { "FETCH" };
        encode::command_complete(&mut self.client.out, &format!("{verb} {rows}"));
        Ok(())
    }

    /// RowDescription, which a server is asked for once.
    async fn describe_fetched(
        &mut self,
        cursor: &mut ShardCursor,
        portal: &LocalPortal,
        bind: &[u8],
    ) -> Step<BytesMut> {
        let mut described = match &cursor.description {
            Some(known) => known.clone(),
            None => {
                let described = self.describe_rows(&portal.statement).await?;
                cursor.description.insert(described).clone()
            }
        };
        let bind = frontend::parse_bind(&bind[5..])?;
        backend::set_formats(&mut described, |column| bind.result_format(column));
        Ok(described)
    }

    /// CLOSE of one of these cursors.
    pub(in crate::session) async fn close_portal(&mut self, name: &str) -> Step {
        self.portals
            .retain(|(known, _)| **known != *name.as_bytes());
        self.close_cursors().await
    }
}

/// How many rows to leave out and how many to show, which is as far as a cursor goes whose shards only go forward. See
/// `DoPortalRunFetch` of `src/backend/tcop/pquery.c`.
fn forward(course: Course, position: u64, is_at_end: bool) -> Result<(u64, u64), Failure> {
    let on_row = position > 0 && !is_at_end;
    let backward = || -> Result<(u64, u64), Failure> {
        Err(Report::error("55000", "cursor can only scan forward")
            .hint("Declare it with SCROLL option to enable backward scan.")
            .into())
    };
    let count = |rows: i64| match rows {
        i64::MAX => ALL,
        rows => rows.unsigned_abs(),
    };
    match course {
        // The row at hand again, or none.
        Course::Forward(0) | Course::Backward(0) | Course::Relative(0) if on_row => backward(),
        Course::Forward(0) | Course::Backward(0) | Course::Relative(0) => Ok((0, 0)),
        Course::Forward(rows @ 1..) => Ok((0, count(rows))),
        Course::Backward(rows @ ..0) => Ok((0, count(rows))),
        Course::Relative(rows @ 1..) => Ok((count(rows) - 1, 1)),
        Course::Absolute(place @ 1..) => {
            let place = place.unsigned_abs();
            match place.checked_sub(position + 1) {
                Some(skipped) if !is_at_end || skipped > 0 => Ok((skipped, 1)),
                _ => backward(),
            }
        }
        Course::Forward(_) | Course::Backward(_) | Course::Relative(_) | Course::Absolute(_) => {
            backward()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ways_forward_are_gone() {
        let way = |course, position, is_at_end| forward(course, position, is_at_end).ok();
        assert_eq!(way(Course::Forward(3), 2, false), Some((0, 3)));
        assert_eq!(way(Course::Forward(i64::MAX), 0, false), Some((0, ALL)));
        assert_eq!(way(Course::Backward(-3), 2, false), Some((0, 3)));
        assert_eq!(way(Course::Relative(3), 2, false), Some((2, 1)));
        assert_eq!(way(Course::Absolute(1), 0, false), Some((0, 1)));
        assert_eq!(way(Course::Absolute(5), 2, false), Some((2, 1)));
        assert_eq!(way(Course::Forward(0), 0, false), Some((0, 0)));
        assert_eq!(way(Course::Forward(0), 5, true), Some((0, 0)));
        for course in [
            Course::Forward(0),
            Course::Forward(-1),
            Course::Backward(1),
            Course::Backward(i64::MAX),
            Course::Relative(-1),
            Course::Absolute(2),
            Course::Absolute(-1),
            Course::Absolute(0),
        ] {
            assert_eq!(way(course, 2, false), None, "{course:?}");
        }
    }
}
