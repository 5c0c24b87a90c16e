//! CREATE TABLE AS of a query whose rows are not where the table will be: one shard makes the table, by the client's own text without
//! rows; then the query runs as any other, the router keeps its rows within the limits of `gather`, and stores them there.
//!
//! Entry point: [`Session::run_create_as`]. All of it is one transaction, the client's or one of the statement's own.

use std::sync::Arc;

use bytes::BytesMut;
use catalog::Catalog;
use planner::{Access, CreateAs, CreatedAs, Pins, Plan, Planned, Target};

use super::block::Block;
use super::everywhere::{Carrier, client_part};
use super::links::Need;
use super::report::Report;
use super::simple::Part;
use super::transfer::Storing;
use super::{Session, Step};
use crate::wire::{backend, encode};

/// `duplicate_table`
const DUPLICATE_TABLE: [u8; 5] = *b"42P07";

impl Session {
    /// Runs the statement and leaves its answer in the client's output. `whole`: the text that was planned.
    pub(super) async fn run_create_as(
        &mut self,
        create: &CreateAs,
        whole: &str,
        offset: i32,
        catalog: &Arc<Catalog>,
    ) -> Step {
        self.drain().await?;
        let own_block = self.block.is_none();
        if own_block {
            self.open_block(Block::implicit());
        }
        let own = whole.get(create.statement.clone()).unwrap_or(whole);
        let result = self.create_and_fill(create, own, offset, catalog).await;
        let answer = self.at_rest(result).await?;
        if own_block {
            self.end_implicit_block().await?;
        }
        self.client.out.extend_from_slice(&answer);
        Ok(())
    }

    async fn create_and_fill(
        &mut self,
        create: &CreateAs,
        own: &str,
        offset: i32,
        catalog: &Arc<Catalog>,
    ) -> Step<BytesMut> {
        let before = own.get(..create.query.end).unwrap_or_default();
        let empty = format!("{before} WITH NO DATA");
        if let CreatedAs::Table(effect) = &create.kind {
            crate::ddl::before(effect, catalog)?;
        }
        let need = Need {
            target: Target::Shard(create.shard),
            access: Access::Write,
            no_block: false,
            pins: match &create.kind {
                CreatedAs::Table(_) => Pins::NONE,
                CreatedAs::Temporary(single) => single.pins,
            },
        };
        let index = self.link(need, catalog).await?;
        self.drain().await?;
        self.links[index].position_offset = offset;
        let answer = self.answer_to(index, Carrier::Text(&empty)).await?;
        let exists = backend::messages(&answer)
            .any(|(tag, body)| tag == b'N' && backend::sqlstate(body) == Some(DUPLICATE_TABLE));
        match &create.kind {
            CreatedAs::Table(effect) => {
                let shards = [create.shard];
                Box::pin(self.learn_schema_change("SELECT", effect, &shards, catalog)).await?;
            }
            CreatedAs::Temporary(single) if !exists => {
                let made = Planned {
                    part: None,
                    plan: Arc::new(Plan::Single(single.clone())),
                    rest: None,
                };
                self.apply_effects(index, &made);
            }
            CreatedAs::Temporary(_) => {}
        }
        if exists {
            return Ok(client_part(&answer).as_slice().into());
        }
        let query = own.get(create.query.clone()).unwrap_or_default();
        let characters = own
            .get(..create.query.start)
            .map_or(0, |text| text.chars().count());
        let offset = offset + i32::try_from(characters).unwrap_or(0);
        let rows = self.fill(create, query, offset, catalog).await?;
        let mut said = BytesMut::new();
        for (tag, body) in backend::messages(&answer) {
            if tag == b'N' {
                encode::message_as_it_is(&mut said, tag, body);
            }
        }
        encode::command_complete(&mut said, &format!("SELECT {rows}"));
        Ok(said)
    }

    /// Runs the query and stores its rows. How many there are.
    async fn fill(
        &mut self,
        create: &CreateAs,
        query: &str,
        offset: i32,
        catalog: &Arc<Catalog>,
    ) -> Step<u64> {
        let shard = create.shard;
        let index = self
            .link(Need::shard(shard, Access::LockingRead), catalog)
            .await?;
        self.check_exact_settings(index).await?;
        let manual = self.manual_shard(catalog)?;
        let planned = self
            .router
            .plans
            .plan_statement(query, &self.context(catalog, manual))?
            .ok_or_else(|| Report::error("XX000", "the query of a CREATE TABLE AS is empty"))?;
        self.collect_stored_rows();
        let part = Part {
            text: query,
            whole: query,
            message: None,
            ready: false,
            offset,
            bound: None,
        };
        let result = Box::pin(self.run_simple(&planned, part, catalog)).await;
        let collected = self.client.collected_rows();
        result?;
        self.check_stored_rows(&collected)?;
        let columns = backend::messages(&collected.messages)
            .find(|(tag, _)| *tag == b'D')
            .and_then(|(_, body)| crate::merge::row::Row::new(body).ok())
            .map_or(0, |row| usize::from(row.columns()));
        let mut loading = self.loading(&create.load, &create.copy, catalog).await?;
        let storing = Storing {
            rows: &collected.messages,
            columns,
        };
        let result = self.store_rows(storing, &mut loading, catalog).await;
        self.stop_parts(&loading, &result);
        result
    }
}
