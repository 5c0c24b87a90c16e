//! Statements of the extended protocol that the router itself carries out: Describe and Execute of a portal that
//! lives here and not on one server.

use std::sync::Arc;

use planner::{AdminArg, ExplainFormat, Plan, SessionStatement};

use super::everywhere::Carrier;
use super::extended::BindValues;
use super::gather::{Sent, Wanted};
use super::prepared::Statement;
use super::report::{Failure, Report};
use super::simple::Part;
use super::{Session, Step};
use crate::wire::{encode, frontend};

impl Session {
    /// RowDescription or NoData, after ParameterDescription for a statement.
    pub(super) async fn describe_local(
        &mut self,
        statement: &Statement,
        is_statement: bool,
        result_format: i16,
    ) -> Step {
        if is_statement {
            let types = statement.parameter_types.clone();
            self.local(|out| encode::parameter_description(out, &types));
        }
        let columns: Vec<(String, u32)> = match statement.plan() {
            Some(Plan::Session(SessionStatement::Show(Some(name)))) => {
                if let Some(own) = name.strip_prefix("pgweave.") {
                    self.show_columns(own)?
                } else {
                    vec![(name.clone(), TEXT)]
                }
            }
            Some(Plan::Session(SessionStatement::Show(None))) => ["name", "setting", "description"]
                .map(|name| (name.to_owned(), TEXT))
                .into(),
            Some(Plan::Admin(call)) => self.admin_columns(call)?,
            Some(Plan::Explain(explain)) => {
                let oid = match explain.format {
                    ExplainFormat::Json => 114,
                    ExplainFormat::Xml => 142,
                    ExplainFormat::Text | ExplainFormat::Yaml => TEXT,
                };
                vec![("QUERY PLAN".to_owned(), oid)]
            }
            _ => Vec::new(),
        };
        if columns.is_empty() {
            self.local(encode::no_data);
        } else {
            let columns: Vec<(&str, u32)> = columns
                .iter()
                .map(|(name, oid)| (name.as_str(), *oid))
                .collect();
            self.local(|out| encode::row_description_as(out, &columns, result_format));
        }
        Ok(())
    }

    /// Executes a portal that lives in the router.
    pub(super) async fn execute_local(
        &mut self,
        statement: &Arc<Statement>,
        message: &[u8],
        max_rows: i32,
    ) -> Step {
        let catalog = self.catalog();
        if let Some(plan) = statement.plan() {
            self.open_snapshot_block(plan);
        }
        let bind = frontend::parse_bind(&message[5..])?;
        let part = Part {
            text: &statement.sql,
            whole: &statement.sql,
            message: None,
            ready: false,
            offset: 0,
            bound: Some((&statement.parameter_types, message)),
        };
        let before = self.client.position();
        match statement.plan() {
            None => {
                encode::empty_query_response(&mut self.client.out);
                return Ok(());
            }
            Some(Plan::Single(_)) => {
                return Err(Report::error(
                    "XX000",
                    "a shard's statement was planned as the router's own",
                )
                .into());
            }
            Some(Plan::Everywhere(everywhere)) => {
                let carrier = if everywhere.parameters == 0 && !everywhere.returns_rows {
                    Carrier::Text(&statement.sql)
                } else {
                    Carrier::Bind {
                        sql: &statement.sql,
                        types: &statement.parameter_types,
                        bind: message,
                    }
                };
                self.run_everywhere(everywhere, carrier, &catalog).await?;
            }
            Some(plan @ Plan::Scatter(scatter)) => {
                self.allow_several(plan, &catalog)?;
                let sent = Sent::Bound(statement, message, Wanted::Rows(max_rows));
                return Box::pin(self.run_scatter(scatter, &statement.sql, 0, sent, &catalog))
                    .await;
            }
            Some(plan @ Plan::Gather(gather)) => {
                self.allow_several(plan, &catalog)?;
                let sent = Sent::Bound(statement, message, Wanted::Rows(max_rows));
                Box::pin(self.run_gather(gather, &statement.sql, 0, sent, &catalog)).await?;
                return Ok(());
            }
            Some(Plan::CopyOut(copy)) => {
                return Box::pin(self.run_copy_out(copy, &statement.sql, 0, &catalog)).await;
            }
            Some(plan @ Plan::Spread(spread)) => {
                self.allow_spread(plan, &catalog)?;
                let sent = Sent::Bound(statement, message, Wanted::Rows(max_rows));
                return Box::pin(self.run_spread(spread, &statement.sql, 0, sent, &catalog)).await;
            }
            Some(Plan::Transfer(transfer)) => {
                let sent = Sent::Bound(statement, message, Wanted::Rows(max_rows));
                let sql = &statement.sql;
                return Box::pin(self.run_transfer(transfer, sql, 0, sent, &catalog)).await;
            }
            Some(Plan::CreateAs(create)) => {
                return Box::pin(self.run_create_as(create, &statement.sql, 0, &catalog)).await;
            }
            Some(Plan::Load(load)) => {
                return Box::pin(self.run_load(load, &statement.sql, 0, &catalog)).await;
            }
            Some(Plan::Session(session)) => {
                self.run_session_statement(session, part, &catalog).await?;
                if matches!(
                    session,
                    SessionStatement::Fetch { .. } | SessionStatement::Execute { .. }
                ) {
                    // Answered without RowDescription, and perhaps sent already.
                    return Ok(());
                }
            }
            Some(Plan::Admin(call)) => {
                let values = BindValues {
                    types: &statement.parameter_types,
                    bind: &bind,
                };
                let arguments = Self::admin_arguments(call, &values)?;
                self.run_admin(call, arguments).await?;
            }
            Some(Plan::Explain(explain)) => {
                self.run_explain(explain, part, &catalog).await?;
            }
        }
        // The client of the extended protocol has its RowDescription from Describe.
        self.strip_row_description(before);
        Ok(())
    }

    /// Removes the first RowDescription that was written from a position on.
    fn strip_row_description(&mut self, start: u64) {
        let mut at = self.client.offset_of(start);
        while let Some(&tag) = self.client.out.get(at) {
            let Some(total) = crate::wire::frame::total_length(&self.client.out[at..]) else {
                return;
            };
            if at + total > self.client.out.len() {
                return;
            }
            if tag == b'T' {
                let tail = self.client.out.split_off(at + total);
                self.client.out.truncate(at);
                self.client.out.unsplit(tail);
                return;
            }
            at += total;
        }
    }

    /// The arguments of an operator's function, with parameters filled in.
    pub(super) fn admin_arguments(
        call: &planner::AdminCall,
        values: &dyn planner::Values,
    ) -> Step<Vec<(Option<String>, AdminArg)>> {
        call.arguments
            .iter()
            .map(|(name, argument)| Ok((name.clone(), Self::admin_argument(argument, values)?)))
            .collect()
    }

    fn admin_argument(
        argument: &AdminArg,
        values: &dyn planner::Values,
    ) -> Result<AdminArg, Failure> {
        let AdminArg::Parameter(index) = argument else {
            return Ok(argument.clone());
        };
        let value = values.parameter(*index).ok_or_else(|| {
            Report::error(
                "08P01",
                format!("bind message supplies no parameter ${}", index + 1),
            )
        })?;
        match value.bytes {
            None => Ok(AdminArg::Null),
            Some(bytes) if !value.binary || matches!(value.type_oid, 0 | 19 | 25 | 1043) => {
                let text = String::from_utf8(bytes.to_vec())
                    .map_err(|_| Report::error("22021", "an argument is not valid UTF-8"))?;
                Ok(AdminArg::Text(text))
            }
            Some(_) => Err(Report::error(
                "0A000",
                format!(
                    "parameter ${} of a pgweave function must be sent as text",
                    index + 1
                ),
            )
            .into()),
        }
    }
}

const TEXT: u32 = 25;
