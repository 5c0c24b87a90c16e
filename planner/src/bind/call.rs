//! Function calls, also those that are written as operators or columns, and casts: what they do besides looking at their
//! arguments.

use catalog::TableKind;

use super::Binder;
use crate::functions::{Builtin, Unsettled, classify, unsettled};
use crate::parse::{ConstValue, Node, names, nodes};
use crate::piece::{Piece, piece};
use crate::relation::{Found, FoundSequence, look_up, look_up_sequence};
use crate::rewrite::moment_type;
use crate::scope::{Resolved, Scope};
use crate::served::size_function;
use crate::{Access, Error, Pins, SetConfig};

impl<'c: 's, 's> Binder<'c, 's> {
    pub(super) fn call(&mut self, call: &nodes::FuncCall) -> Result<(), Error> {
        if call.over().is_some() {
            self.bound.findings.windows += 1;
            self.bound.findings.unsettle("a window function");
        }
        let path = names(call.funcname());
        let (schema, name) = match path.as_slice() {
            [name] => (None, *name),
            [schema, name] | [_, schema, name] => (Some(*schema), *name),
            _ => return Ok(()),
        };
        if schema == Some("pgweave") {
            if let Some(name) = size_function(name).filter(|_| call.args().len() == 1) {
                let findings = &mut self.bound.findings;
                findings.uses_pgweave = true;
                findings.is_served = true;
                findings.uses_system = true;
                findings.vary(format!("pgweave.{name}"));
                match self.within {
                    None => findings.sizes.push((call.location, name)),
                    Some(_) => findings.keep_in_place(format!("a view calls pgweave.{name}")),
                }
                return Ok(());
            }
            return Err(
                Error::unsupported(format!("pgweave.{name} must be called alone"))
                    .with_hint(format!(
                        "Write SELECT pgweave.{name}(…) with constant arguments and nothing else."
                    ))
                    .at(self.source.sql, call.location),
            );
        }
        let mut of_user = false;
        if schema != Some("pg_catalog") {
            let context = self.context;
            for function in context.catalog.functions(name) {
                let visible = match schema {
                    Some(schema) => function.schema == schema,
                    None => context.search_path.contains(&function.schema),
                };
                if visible {
                    of_user = true;
                    // What its body reads is known only as far as the catalog is: where any shard would do, the default
                    // shard does, which has whatever is not listed.
                    self.bound.findings.uses_system = true;
                    self.user_function(function, call.location);
                }
            }
        }
        match schema {
            None | Some("pg_catalog") => self.builtin(name, call),
            Some(_) if of_user => {}
            Some(_) => match classify(name) {
                Builtin::ByText => self.builtin(name, call),
                // Not known to the catalog: the default shard knows it or says that it does not exist.
                _ => {
                    let default = self.context.catalog.default_shard();
                    self.bound
                        .findings
                        .home(default, format!("function {name}"));
                    self.bound.findings.raise(Access::Write);
                    self.bound.findings.differ(format!("function {name}"));
                }
            },
        }
        Ok(())
    }

    /// An operator is its function.
    pub(super) fn operator(&mut self, expression: &nodes::A_Expr) {
        let last = expression.name().iter().next_back().and_then(Node::as_str);
        if let Some(symbol) = last {
            self.function_behind(symbol, expression.location);
        }
    }

    /// `table.name` and `name` may call a function with the row as its argument where there is no such column.
    pub(super) fn function_as_column(&mut self, reference: &nodes::ColumnRef, scope: &Scope<'_>) {
        if reference.fields().len() < 2 {
            return;
        }
        let last = reference.fields().iter().next_back().and_then(Node::as_str);
        if let Some(name) = last.filter(|name| !self.context.catalog.functions(name).is_empty())
            && matches!(self.relations.resolve(reference, scope), Resolved::Unclear)
        {
            self.function_behind(name, reference.location);
        }
    }

    /// `(expression).name` likewise. Whether there is a field of that name is not known.
    pub(super) fn function_as_field(&mut self, selection: &nodes::A_Indirection) {
        for name in selection.indirection().iter().filter_map(Node::as_str) {
            self.function_behind(name, -1);
        }
    }

    fn function_behind(&mut self, name: &str, location: i32) {
        let context = self.context;
        for function in context.catalog.functions(name) {
            if context.search_path.contains(&function.schema) {
                self.user_function(function, location);
            }
        }
    }

    pub(super) fn builtin(&mut self, name: &str, call: &nodes::FuncCall) {
        let default = self.context.catalog.default_shard();
        let findings = &mut self.bound.findings;
        match classify(name) {
            Builtin::Settled => {}
            Builtin::OrderSensitive => {
                findings.unsettle(format!("{name}, which depends on the order of rows"))
            }
            Builtin::Unsettled if moment_type(Node::FuncCall(call)).is_some() => {
                findings.ask_moment(if self.within.is_some() {
                    -1
                } else {
                    call.location
                });
                findings.unsettle(format!("function {name}"));
            }
            Builtin::Unsettled => {
                match unsettled(name) {
                    Unsettled::EachTime if self.depth > self.row_depth => {
                        findings
                            .volatile_within
                            .get_or_insert_with(|| format!("function {name}"));
                        findings.vary(format!("function {name}"));
                    }
                    Unsettled::EachTime | Unsettled::Session => {
                        findings.vary(format!("function {name}"));
                    }
                    Unsettled::Server => findings.differ(format!("function {name}")),
                }
                if matches!(name, "txid_current" | "pg_current_xact_id") {
                    findings.raise(Access::Write);
                }
                findings.uses_system |= ["pg_", "to_reg", "has_"]
                    .iter()
                    .any(|prefix| name.starts_with(prefix));
            }
            Builtin::AdvisoryLock => {
                findings.unsettle(format!("function {name}"));
                findings.raise(Access::Write);
                findings.pins.insert(Pins::ADVISORY_LOCK);
                findings.home(default, format!("function {name}"));
            }
            Builtin::Server => {
                findings.unsettle(format!("function {name}"));
                findings.raise(Access::Write);
                findings.home(default, format!("function {name}"));
            }
            Builtin::ByText => {
                let error = Error::unsupported(format!(
                    "function {name} reads tables that the router cannot see"
                ))
                .with_hint("SET pgweave.shard or pgweave.shard_key to say where it runs.")
                .at(self.source.sql, call.location);
                findings.refuse(error);
            }
            Builtin::SetConfig => self.set_config(call),
            Builtin::Sequence => self.sequence_call(name, call),
        }
    }

    pub(super) fn set_config(&mut self, call: &nodes::FuncCall) {
        let findings = &mut self.bound.findings;
        findings.tied_to_values = true;
        findings.unsettle("function set_config");
        let arguments: Vec<Node<'_>> = call.args().iter().collect();
        let effect = match arguments.as_slice() {
            [name, value, local] => match (
                constant_text(*name),
                constant_text(*value),
                constant_boolean(*local),
            ) {
                (Some(Some(name)), Some(value), Some(is_local)) => Some(SetConfig {
                    name,
                    value,
                    is_local,
                }),
                _ => None,
            },
            _ => None,
        };
        match effect {
            Some(effect) => findings.effects.set_config.push(effect),
            None => findings.pins.insert(Pins::SETTINGS),
        }
    }

    /// The sequence of an unsharded table's column lives with the table. Others that the catalog knows hand out values that are
    /// unique over the cluster; the default shard has them all. One that it does not know is on the default shard or nowhere.
    pub(super) fn sequence_call(&mut self, name: &str, call: &nodes::FuncCall) {
        self.bound.findings.raise(Access::Write);
        self.bound.findings.tied_to_values = true;
        self.bound.findings.vary(format!("function {name}"));
        if self.depth > self.row_depth {
            self.bound
                .findings
                .volatile_within
                .get_or_insert_with(|| format!("function {name}"));
        }
        match name {
            "nextval" => self.bound.findings.draws.push(call.location),
            "currval" | "lastval" => self.bound.findings.recalls.push(call.location),
            _ => {}
        }
        if name == "lastval" {
            return;
        }
        let text = call.args().first().and_then(relation_text);
        let label = text.as_deref().unwrap_or("a sequence").to_owned();
        let default = self.context.catalog.default_shard();
        let sequence = text.as_deref().and_then(relation_name);
        match sequence
            .map(|(schema, name)| look_up_sequence(&self.context, schema.as_deref(), &name))
        {
            Some(FoundSequence::OfTable(shard)) => {
                self.bound.findings.home(shard, format!("sequence {label}"))
            }
            Some(FoundSequence::Known) if name == "setval" => {
                let error = Error::unsupported(format!(
                    "setval on {label}, a sequence of the whole cluster"
                ))
                .with_hint("SET pgweave.shard to set it on one shard.")
                .at(self.source.sql, call.location);
                self.bound.findings.refuse(error);
            }
            Some(FoundSequence::Known) => self.bound.findings.uses_system = true,
            Some(FoundSequence::Unknown) | None => self
                .bound
                .findings
                .home(default, format!("sequence {label}")),
        }
    }

    /// `'name'::regclass` reaches for the table's own shard.
    pub(super) fn cast(&mut self, cast: &nodes::TypeCast) {
        let Some(target) = cast
            .type_name()
            .and_then(|name| name.names().iter().next_back())
            .and_then(|name| name.sval())
        else {
            return;
        };
        if !target.starts_with("reg") {
            return;
        }
        self.bound.findings.uses_system = true;
        self.bound.findings.tied_to_values = true;
        self.bound.findings.unsettle(format!("a cast to {target}"));
        if target != "regclass" {
            return;
        }
        let Some((schema, name)) = relation_text(cast.arg()).as_deref().and_then(relation_name)
        else {
            return;
        };
        match look_up(&self.context, schema.as_deref(), &name) {
            Found::Table(table) => {
                if let TableKind::Unsharded { shard } = table.kind {
                    self.bound.findings.home(shard, name);
                }
            }
            Found::Temporary(shard) => self.bound.findings.home(shard, name),
            Found::View(_) | Found::System | Found::Pgweave | Found::Unknown => {}
        }
    }
}

/// `Some(None)` is NULL.
pub(crate) fn constant_text(node: Node<'_>) -> Option<Option<String>> {
    match node {
        Node::A_Const(constant) => match constant.val() {
            None => Some(None),
            Some(ConstValue::String(text)) => Some(Some(text.to_owned())),
            Some(_) => None,
        },
        Node::TypeCast(cast) => constant_text(cast.arg()),
        _ => None,
    }
}

fn constant_boolean(node: Node<'_>) -> Option<bool> {
    match node {
        Node::A_Const(constant) => match constant.val()? {
            ConstValue::Boolean(value) => Some(value),
            ConstValue::String(text) => match text.to_ascii_lowercase().as_str() {
                "t" | "true" | "on" | "yes" | "1" => Some(true),
                "f" | "false" | "off" | "no" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        },
        Node::TypeCast(cast) => constant_boolean(cast.arg()),
        _ => None,
    }
}

fn relation_text(node: Node<'_>) -> Option<String> {
    constant_text(node).flatten()
}

/// Splits `schema.name` as `regclass` input does.
pub(crate) fn relation_name(text: &str) -> Option<(Option<String>, String)> {
    let mut parts = Vec::new();
    let mut at = 0;
    loop {
        let (Piece::Word, range) = piece(text.as_bytes(), at)? else {
            return None;
        };
        let word = text.get(range.clone())?;
        parts.push(
            match word
                .strip_prefix('"')
                .and_then(|word| word.strip_suffix('"'))
            {
                Some(quoted) => quoted.replace("\"\"", "\""),
                None => word.to_lowercase(),
            },
        );
        match piece(text.as_bytes(), range.end) {
            None => break,
            Some((Piece::Mark(b'.'), range)) => at = range.end,
            Some(_) => return None,
        }
    }
    let name = parts.pop()?;
    (parts.len() <= 1).then(|| (parts.pop(), name))
}
