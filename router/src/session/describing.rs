//! What a statement's result looks like: asked of a server, and kept as it was promised.

use std::sync::Arc;

use bytes::BytesMut;
use catalog::Catalog;

use super::batch::Batch;
use super::prepared::{ServerName, Statement};
use super::report::Report;
use super::{Session, Step};
use crate::execute::LinkError;
use crate::execute::expect::Expect;
use crate::wire::{backend, encode, frame, frontend};

impl Session {
    /// A client that has been told what a statement's result looks like must not be sent another.
    pub(super) async fn check_promise(
        &mut self,
        statement: &Arc<Statement>,
        catalog: &Arc<Catalog>,
    ) -> Step {
        let Some(promised) = statement.promised else {
            return Ok(());
        };
        if statement.shape.get().is_none()
            && let Some(need) = self.describing_need(statement, catalog)
        {
            let index = Box::pin(self.extended_link(need, Batch::AsSeen, catalog)).await?;
            Box::pin(self.learn_shape(index, statement)).await?;
        }
        match statement.shape.get() {
            Some(shape) if shape != promised => Err(Report::changed_result().into()),
            _ => Ok(()),
        }
    }

    /// Describes the rows of what more than one shard takes part in, as one of them does.
    pub(super) async fn describe_returning(
        &mut self,
        statement: &Arc<Statement>,
        bind: &frontend::Bind<'_>,
    ) -> Step {
        let mut described = self.describe_rows(statement).await?;
        backend::set_formats(&mut described, |column| bind.result_format(column));
        self.local(|out| out.extend_from_slice(&described));
        Ok(())
    }

    /// RowDescription or NoData of such a statement, with all columns as text.
    pub(super) async fn describe_rows(&mut self, statement: &Arc<Statement>) -> Step<BytesMut> {
        let catalog = self.catalog();
        let need = self.describing_need(statement, &catalog).ok_or_else(|| {
            Report::error("XX000", "no shard can describe a write to every shard")
        })?;
        let index = self.extended_link(need, Batch::AsSeen, &catalog).await?;
        let described = self.learn_shape(index, statement).await?;
        Ok(described.unwrap_or_else(|| {
            let mut out = BytesMut::new();
            encode::no_data(&mut out);
            out
        }))
    }

    /// Has a server describe a statement to the router. Its RowDescription, if it returns rows.
    pub(super) async fn learn_shape(
        &mut self,
        index: usize,
        statement: &Arc<Statement>,
    ) -> Step<Option<BytesMut>> {
        self.prepare_for_execution(index, statement).await?;
        let link = &mut self.links[index];
        link.captured.clear();
        encode::describe(
            link.backend.out(),
            b'S',
            ServerName::of(statement.key).as_bytes(),
        );
        encode::sync(link.backend.out());
        link.expects.push_back(Expect::Captured);
        self.exchange(index).await?;
        self.own_error(index)?;
        let link = &mut self.links[index];
        let captured = std::mem::take(&mut link.captured);
        let mut row_description = None;
        let mut rest = &captured[..];
        while let Some(frame) =
            frame::next_frame(rest, &link.limits).map_err(LinkError::Protocol)?
        {
            if matches!(frame.tag, b'T' | b'n') {
                statement.shape.note(&rest[5..frame.total]);
            }
            if frame.tag == b'T' {
                row_description = Some(BytesMut::from(&rest[..frame.total]));
            }
            rest = &rest[frame.total..];
        }
        Ok(row_description)
    }
}
