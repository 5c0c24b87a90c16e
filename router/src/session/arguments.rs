//! The arguments of EXECUTE: what they lead to, and their values where several shards need them.
//!
//! Entry point: [`Session::execution`]. Plain constants are read here. Other expressions, and all arguments of what several
//! shards run, are evaluated by a server, which coerces them as EXECUTE does.

use std::sync::Arc;

use catalog::Catalog;
use planner::{Access, Plan, Route, Value, Values};

use super::combine::portable_types;
use super::extended::BindValues;
use super::gather::is_exact_in_binary;
use super::links::Need;
use super::prepared::{ServerName, Statement};
use super::report::{Failure, Report};
use super::settings::push_literal;
use super::statement::arguments_offset;
use super::{Session, Step};
use crate::execute::expect::Expect;
use crate::merge::row::Row;
use crate::wire::{backend, encode, frontend};

/// The statement through which a server evaluates arguments.
const EVALUATION: &str = "pgweave_arguments";

/// Types whose text is read back as the same value by all servers of a session: bool, bytea, name, int8, int2, int4, text,
/// bpchar, varchar, date, time, timestamp, timestamptz, numeric, uuid. All types of shard keys are among them.
const EXACT_AS_TEXT: [u32; 15] = [
    16, 17, 19, 20, 21, 23, 25, 1042, 1043, 1082, 1083, 1114, 1184, 1700, 2950,
];

/// What an EXECUTE comes to.
pub(super) enum Execution {
    /// One server runs the statement, with these arguments.
    Server(Arc<Statement>, Need, Vec<String>),
    /// Several shards do, with these values in a Bind message.
    Several(Arc<Statement>, Arc<[u8]>),
}

/// An EXECUTE as the client sent it.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub name: &'a str,
    /// Expression texts.
    pub arguments: &'a [String],
    /// The whole statement, and where it begins in the client's text.
    pub text: &'a str,
    pub offset: i32,
}

impl<'a> Call<'a> {
    /// One that is a whole message's text.
    pub fn of(name: &'a str, arguments: &'a [String], text: &'a str) -> Self {
        Self {
            name,
            arguments,
            text,
            offset: 0,
        }
    }
}

impl Session {
    /// The statement that EXECUTE names, and where it runs with these arguments.
    pub(super) async fn execution(
        &mut self,
        call: Call<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step<Execution> {
        let statement = self.statement_named(call.name.as_bytes(), catalog)?;
        match statement.plan() {
            Some(Plan::Single(single)) => {
                // Only a key needs its value; what leads to one shard anyway may be given as any expression.
                let plain = match single.route {
                    Route::Key(_) => Arguments::read(call.arguments),
                    _ => {
                        let need = self.need_of(single, &(), catalog)?;
                        let arguments = call.arguments.to_vec();
                        return Ok(Execution::Server(statement, need, arguments));
                    }
                };
                if let Some(plain) = plain {
                    match self.need_of(single, &plain, catalog) {
                        Ok(need) => {
                            let arguments = call.arguments.to_vec();
                            return Ok(Execution::Server(statement, need, arguments));
                        }
                        Err(failure) if !is_refusal(&failure) => return Err(failure),
                        Err(_) => {}
                    }
                }
            }
            Some(Plan::Scatter(_) | Plan::Gather(_) | Plan::Spread(_) | Plan::Transfer(_)) => {}
            _ => {
                return Err(Report::error(
                    "0A000",
                    "EXECUTE of this kind of statement is not supported through pgweave",
                )
                .hint("Send the statement itself.")
                .into());
            }
        }
        Box::pin(self.evaluated_execution(statement, call, catalog)).await
    }

    /// The statement that EXECUTE names, if a server has to evaluate its arguments before it runs.
    pub(super) fn evaluated(
        &mut self,
        call: Call<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step<Option<Arc<Statement>>> {
        let statement = self.statement_named(call.name.as_bytes(), catalog)?;
        let is_evaluated = match statement.plan() {
            Some(Plan::Single(single)) if matches!(single.route, Route::Key(_)) => {
                Arguments::read(call.arguments)
                    .is_none_or(|plain| self.need_of(single, &plain, catalog).is_err())
            }
            Some(Plan::Scatter(_) | Plan::Gather(_) | Plan::Spread(_) | Plan::Transfer(_)) => true,
            _ => false,
        };
        Ok(is_evaluated.then_some(statement))
    }

    async fn evaluated_execution(
        &mut self,
        statement: Arc<Statement>,
        call: Call<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step<Execution> {
        let (types, bind) = self.evaluate(&statement, call, catalog).await?;
        if let Some(Plan::Single(single)) = statement.plan() {
            let client = frontend::parse_bind(&bind[5..])?;
            let values = BindValues {
                types: &types,
                bind: &client,
            };
            if let Ok(need) = self.need_of(single, &values, catalog) {
                // With the value that has led there: the expression may have another when it is evaluated again.
                let arguments = (0u16..).zip(call.arguments);
                let arguments = arguments.map(|(index, text)| match client.parameter(index) {
                    Some(Some(value)) if !client.parameter_is_binary(index) => {
                        let mut literal = String::new();
                        push_literal(&mut literal, &String::from_utf8_lossy(value));
                        literal
                    }
                    _ => text.clone(),
                });
                let arguments = arguments.collect();
                return Ok(Execution::Server(statement, need, arguments));
            }
        }
        // From here on it is a statement like one of the extended protocol's, with types told by number.
        let told = portable_types(&types, &statement.sql);
        let declares = statement.declared_types.as_deref();
        if told != types && declares.is_some_and(|types| !types.is_empty()) {
            return Err(Report::error(
                "0A000",
                "EXECUTE over several shards of a statement whose parameters are declared with types that users have made",
            )
            .hint("PREPARE it without types, so that they are inferred.")
            .into());
        }
        let reading = statement.reading.clone();
        let numbered = self.statement_of(&statement.sql, &told, true, reading, catalog)?;
        let several = self.for_several(numbered, &bind, catalog)?;
        Ok(Execution::Several(several, bind))
    }

    /// Has a server evaluate the arguments: the parameters' types, and a Bind message with their values.
    async fn evaluate(
        &mut self,
        statement: &Arc<Statement>,
        call: Call<'_>,
        catalog: &Arc<Catalog>,
    ) -> Step<(Vec<u32>, Arc<[u8]>)> {
        self.check_arguments(call, catalog)?;
        let need = self.describing_need(statement, catalog).ok_or_else(|| {
            Report::error("XX000", "no server can evaluate the arguments of EXECUTE")
        })?;
        self.drain().await?;
        let index = self.link(need, catalog).await?;
        self.prepare_for_execution(index, statement).await?;
        let out = self.links[index].backend.out();
        encode::describe(out, b'S', ServerName::of(statement.key).as_bytes());
        let described = self.evaluation_answer(index).await?;
        let types: Vec<u32> = backend::messages(&described)
            .filter(|(tag, _)| *tag == b't')
            .flat_map(|(_, body)| body.get(2..).unwrap_or_default().as_chunks::<4>().0)
            .map(|oid| u32::from_be_bytes(*oid))
            .collect();
        let (count, given) = (types.len(), call.arguments.len());
        if count != given {
            let name = call.name;
            return Err(Report::error(
                "42601",
                format!("wrong number of parameters for prepared statement \"{name}\""),
            )
            .detail(format!("Expected {count} parameters but got {given}."))
            .into());
        }
        if types.is_empty() {
            return Ok((types, frontend::bind_with_format(None, 0).into()));
        }
        let is_binary: Vec<bool> = types
            .iter()
            .map(|oid| is_exact_in_binary(*oid) && !EXACT_AS_TEXT.contains(oid))
            .collect();
        let parameters: Vec<String> = (1..=count).map(|number| format!("${number}")).collect();
        let execute = format!("EXECUTE {EVALUATION} ({})", call.arguments.join(", "));
        let link = &mut self.links[index];
        link.own_offset = call.offset + arguments_offset(call.text, &execute);
        let out = link.backend.out();
        encode::close(out, b'S', EVALUATION.as_bytes());
        let echo = format!("SELECT {}", parameters.join(", "));
        encode::parse(out, EVALUATION.as_bytes(), echo.as_bytes(), &types);
        encode::parse(out, b"", execute.as_bytes(), &[]);
        out.extend_from_slice(&frontend::bind_message(&[], &is_binary));
        encode::execute(out, b"", 0);
        encode::close(out, b'S', EVALUATION.as_bytes());
        link.backend.forget_unnamed();
        let answer = self.evaluation_answer(index).await?;
        self.links[index].own_offset = 0;
        let row = backend::messages(&answer).find(|(tag, _)| *tag == b'D');
        let (_, row) = row.ok_or_else(|| Report::error("XX000", "arguments have no values"))?;
        let unread = |_| Failure::from(Report::error("XX000", "arguments cannot be read"));
        let row = Row::new(row).map_err(unread)?;
        let mut values = Vec::with_capacity(count);
        for (column, is_binary) in (0u16..).zip(&is_binary) {
            values.push((*is_binary, row.cell(column).map_err(unread)?));
        }
        Ok((types, frontend::bind_message(&values, &[]).into()))
    }

    /// The whole answer to what waits for a link's server, which is an error of the client's or nothing for it.
    async fn evaluation_answer(&mut self, index: usize) -> Step<Vec<u8>> {
        let link = &mut self.links[index];
        encode::sync(link.backend.out());
        link.captured.clear();
        link.expects.push_back(Expect::Captured);
        self.exchange(index).await?;
        let answer = std::mem::take(&mut self.links[index].captured);
        self.own_error(index)?;
        Ok(answer)
    }

    /// Any server may evaluate them if they read nothing and leave nothing behind.
    fn check_arguments(&self, call: Call<'_>, catalog: &Arc<Catalog>) -> Step {
        if Arguments::read(call.arguments).is_some() {
            return Ok(());
        }
        let manual = self.manual_shard(catalog)?;
        let sql = format!("SELECT {}", call.arguments.join(", "));
        let planned = planner::plan_text(&sql, &self.context(catalog, manual))?;
        let harmless = planned.iter().all(|one| match &*one.plan {
            Plan::Single(single) => {
                matches!(single.route, Route::Any)
                    && single.access == Access::Read
                    && single.pins.is_empty()
                    && single.effects.is_empty()
                    && !single.recalls
            }
            _ => false,
        });
        if harmless {
            return Ok(());
        }
        Err(Report::error(
            "0A000",
            format!(
                "the arguments ({}) of EXECUTE are more than constants, so the shard cannot be known",
                call.arguments.join(", ")
            ),
        )
        .hint("Pass constants, or send the statement itself.")
        .into())
    }
}

fn is_refusal(failure: &Failure) -> bool {
    matches!(failure, Failure::Report(report) if report.sqlstate == "0A000")
}

/// Arguments that are plain constants.
struct Arguments(Vec<Argument>);

enum Argument {
    Null,
    Text(String),
}

impl Arguments {
    /// `None`: only a server can tell the value of one.
    fn read(arguments: &[String]) -> Option<Self> {
        arguments
            .iter()
            .map(|text| argument(text))
            .collect::<Option<Vec<_>>>()
            .map(Self)
    }
}

fn argument(text: &str) -> Option<Argument> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("null") {
        return Some(Argument::Null);
    }
    let number = text.strip_prefix('-').unwrap_or(text);
    if !number.is_empty()
        && number
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return Some(Argument::Text(text.to_owned()));
    }
    if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
        return Some(Argument::Text(text.to_ascii_lowercase()));
    }
    let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
    let is_plain = !inner.contains('\\') && !inner.replace("''", "").contains('\'');
    is_plain.then(|| Argument::Text(inner.replace("''", "'")))
}

impl Values for Arguments {
    fn parameter(&self, index: u16) -> Option<Value<'_>> {
        let bytes = match self.0.get(usize::from(index))? {
            Argument::Null => None,
            Argument::Text(text) => Some(text.as_bytes()),
        };
        Some(Value {
            type_oid: 0,
            binary: false,
            bytes,
        })
    }

    fn literal(&self, _: u16) -> Option<&str> {
        None
    }
}
