//! Cursors that a merge session keeps: the rows are there, and its server does what PostgreSQL does with a cursor.
//!
//! The connection stays with the cursor, in its transaction. A cursor WITH HOLD outlives that: the transaction is committed
//! with the client's block, which drops the temporary tables, and the server has kept the cursor's rows.

use planner::Course;

use super::{Cursor, Session, Step};
use crate::backend::AppliedSettings;
use crate::execute::expect::Expect;
use crate::execute::{Link, LinkError};
use crate::session::block::push_identifier;
use crate::session::settings::{local_statements_between, statements_between};
use crate::wire::frontend::ShardBind;
use crate::wire::{backend, encode, frontend};

/// A query that is open on a merge session.
pub(in crate::session) struct MergeCursor {
    pub link: Link,
    /// Of its portal there.
    pub name: String,
    /// The body of RowDescription of the client's own statement: where columns come from.
    pub description: Vec<u8>,
    /// The settings that rows are written by.
    pub formatting: AppliedSettings,
    /// Its transaction has been committed: it was declared WITH HOLD.
    pub is_held: bool,
}

impl Session {
    /// Executes the portal, whose answer is the client's.
    pub(super) async fn execute_on_merge(
        &mut self,
        cursor: &mut MergeCursor,
        max_rows: i32,
    ) -> Step {
        self.bring_to_settings(cursor).await?;
        let out = cursor.link.backend.out();
        encode::execute(out, cursor.name.as_bytes(), max_rows);
        encode::sync(out);
        cursor.link.expects.extend([
            Expect::Execute { planned: None },
            Expect::Sync { forward: false },
        ]);
        self.exchange_merge(&mut cursor.link).await
    }

    /// FETCH or MOVE, whose answer is the client's. `bind`: a Bind message with the formats; `described`: RowDescription is
    /// part of the answer.
    pub(super) async fn fetch_on_merge(
        &mut self,
        cursor: &mut MergeCursor,
        course: Course,
        is_move: bool,
        bind: &[u8],
        described: bool,
    ) -> Step {
        self.bring_to_settings(cursor).await?;
        let formats = frontend::parse_bind(&bind[5..])?;
        let sql = fetch_text(&cursor.name, course, is_move);
        let link = &mut cursor.link;
        let out = link.backend.out();
        encode::parse(out, b"", sql.as_bytes(), &[]);
        ShardBind::default().write(out, b"", Some(&formats), b"");
        if described {
            encode::describe(out, b'P', b"");
        } else {
            link.expects.extend([Expect::Swallowed, Expect::Swallowed]);
        }
        encode::execute(link.backend.out(), b"", 0);
        encode::sync(link.backend.out());
        link.backend.forget_unnamed();
        if described {
            self.flush_merge(link).await?;
            let mut body = self.await_merge(link, b'T').await?;
            backend::copy_origins(&mut body, &cursor.description);
            backend::row_description_without(&mut self.client.out, &body, 0)
                .map_err(LinkError::Protocol)?;
        }
        cursor.link.expects.extend([
            Expect::Execute { planned: None },
            Expect::Sync { forward: false },
        ]);
        self.exchange_merge(&mut cursor.link).await
    }

    /// Values are written by the settings of the moment they are asked for.
    async fn bring_to_settings(&mut self, cursor: &mut MergeCursor) -> Step {
        if cursor.is_held {
            let wanted = self.settings.wanted().clone();
            let link = &mut cursor.link;
            if let Some(sql) = statements_between(link.backend.applied(), &wanted) {
                link.backend.forget_applied();
                self.ask_merge(link, &sql).await?;
                link.backend.set_applied(wanted);
            }
            return Ok(());
        }
        let now = self.settings.formatting();
        if now != cursor.formatting {
            let sql = local_statements_between(&cursor.formatting, &now);
            self.ask_merge(&mut cursor.link, &sql).await?;
            cursor.formatting = now;
        }
        Ok(())
    }

    /// The rows of cursors WITH HOLD are kept from the end of the block on. Those that this call has made last.
    pub(in crate::session) async fn hold_cursors(&mut self) -> Step<Vec<u64>> {
        let mut held = Vec::new();
        let mut at = 0;
        while let Some((number, cursor)) = self.open_cursors.get(at) {
            let number = *number;
            let to_hold = matches!(cursor, Cursor::Merge(merge) if !merge.is_held)
                && self
                    .portals
                    .iter()
                    .any(|(_, portal)| portal.has_number(number) && portal.is_to_hold());
            at += 1;
            if !to_hold {
                continue;
            }
            let (_, mut cursor) = self.open_cursors.remove(at - 1);
            let mut kept = Ok(());
            if let Cursor::Merge(merge) = &mut cursor {
                kept = self.ask_merge(&mut merge.link, "COMMIT").await;
                merge.is_held = kept.is_ok();
            }
            self.open_cursors.insert(at - 1, (number, cursor));
            kept?;
            held.push(number);
        }
        Ok(held)
    }

    /// Gives the connection back.
    pub(in crate::session) async fn close_merge_cursor(&mut self, cursor: MergeCursor) {
        if self.handle.done_with(cursor.link.backend.cancel_target()) {
            self.handle.settled().await;
        }
        // A held cursor is not of a transaction, whose end would close it.
        let tracked = !cursor.is_held;
        let backend = cursor.link.backend;
        backend.clean_and_release(&self.worker, tracked).await;
    }
}

/// The statement by the cursor's name on the merge session.
fn fetch_text(name: &str, course: Course, is_move: bool) -> String {
    let mut sql = String::from(if is_move { "MOVE " } else { "FETCH " });
    let counted = |word: &str, count: i64| match count {
        i64::MAX => format!("{word} ALL"),
        count => format!("{word} {count}"),
    };
    sql.push_str(&match course {
        Course::Forward(count) => counted("FORWARD", count),
        Course::Backward(count) => counted("BACKWARD", count),
        Course::Absolute(place) => format!("ABSOLUTE {place}"),
        Course::Relative(count) => format!("RELATIVE {count}"),
    });
    sql.push_str(" FROM ");
    push_identifier(&mut sql, name);
    sql
}
