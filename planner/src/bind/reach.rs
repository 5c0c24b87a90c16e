//! What runs behind a statement: the bodies of functions, and what relations do by themselves (triggers, rules, defaults,
//! checks, policies).
//!
//! Entry points: [`Binder::user_function`], for a call, and [`Binder::reactions`], for a relation that is used. Both end in
//! [`Binder::touch`], so that a function is judged alike whoever calls it: what it reads and writes must be on the shard
//! that it runs on, and be all there.

use catalog::{Event, Reached, Reaction, TableKind, Touches, Volatility};

use super::Binder;
use crate::relation::{Found, look_up};
use crate::utility::all_on;
use crate::{Access, Error};

impl<'c: 's, 's> Binder<'c, 's> {
    pub(super) fn user_function(&mut self, function: &catalog::Function, location: i32) {
        let name = format!("{}.{}", function.schema, function.name);
        match function.volatility {
            Volatility::Volatile => {
                self.bound.findings.raise(Access::Write);
                self.bound
                    .findings
                    .vary(format!("the volatile function {name}"));
                if self.depth > self.row_depth {
                    self.bound
                        .findings
                        .volatile_within
                        .get_or_insert_with(|| format!("the volatile function {name}"));
                }
            }
            Volatility::Stable => self
                .bound
                .findings
                .vary(format!("the stable function {name}")),
            Volatility::Immutable => {}
        }
        // It reads its tables itself, where it runs.
        self.bound.findings.in_place |= function.touches != Touches::Nothing;
        self.function(function, &format!("function {name}"), location);
        self.judge(location);
    }

    /// What this relation runs by itself when it is used so.
    pub(crate) fn reactions(&mut self, schema: &str, name: &str, event: Event, location: i32) {
        self.used(schema, name, event);
        self.judge(location);
    }

    /// Notes a use that is still to be judged, once. Not a recursion: relations may set off one another in long chains.
    fn used(&mut self, schema: &str, name: &str, event: Event) {
        let seen = |(known, other, set_off): &(String, String, Event)| {
            known == schema && other == name && *set_off == event
        };
        let reactions = self.context.catalog.reactions(schema, name);
        if reactions.iter().any(|reaction| reaction.event == event)
            && !self.reacting.iter().any(seen)
        {
            self.reacting
                .push((schema.to_owned(), name.to_owned(), event));
        }
    }

    fn judge(&mut self, location: i32) {
        let context = self.context;
        while let Some((schema, name, event)) = self.reacting.get(self.reacted).cloned() {
            self.reacted += 1;
            for reaction in context.catalog.reactions(&schema, &name) {
                if reaction.event == event {
                    self.reaction(&name, reaction, location);
                }
            }
        }
    }

    fn reaction(&mut self, of: &str, reaction: &Reaction, location: i32) {
        match &reaction.reaches {
            Reached::Function(schema, function) => {
                let who = format!("function {schema}.{function}, called by {of},");
                let functions = self.context.catalog.functions(function);
                let mut known = functions
                    .iter()
                    .filter(|function| function.schema == *schema)
                    .peekable();
                // Made in this transaction, or on this shard alone.
                if known.peek().is_none() {
                    self.unknown(&who, location);
                }
                for function in known {
                    self.function(function, &who, location);
                }
            }
            Reached::Relation(schema, relation) => {
                let (who, volatility) = match reaction.event {
                    Event::Use => (format!("a policy of {of}"), Volatility::Stable),
                    Event::Write => (format!("a rule of {of}"), Volatility::Volatile),
                };
                self.touch(&who, schema, relation, volatility, location);
            }
            Reached::Along(schema, relation) => {
                self.used(schema, relation, Event::Use);
                self.used(schema, relation, Event::Write);
            }
        }
    }

    fn function(&mut self, function: &catalog::Function, who: &str, location: i32) {
        match &function.touches {
            Touches::Nothing => {}
            Touches::Unknown => self.unknown(who, location),
            Touches::Tables(tables) => {
                for (schema, table) in tables {
                    self.touch(who, schema, table, function.volatility, location);
                }
            }
        }
    }

    fn unknown(&mut self, who: &str, location: i32) {
        let default = self.context.catalog.default_shard();
        if all_on(&self.context, default) {
            self.bound.findings.home(default, who);
            return;
        }
        let error = Error::unsupported(format!(
            "{who} may read or write tables that the router cannot see"
        ))
        .with_hint("SET pgweave.shard or pgweave.shard_key to say where it runs.")
        .at(self.source.sql, location);
        self.bound.findings.refuse(error);
    }

    /// `who` reads this relation, or writes it if it is volatile.
    fn touch(
        &mut self,
        who: &str,
        schema: &str,
        relation: &str,
        volatility: Volatility,
        location: i32,
    ) {
        let refusal = |kind: &str| {
            Error::unsupported(format!("{who} uses the {kind} {schema}.{relation}"))
                .with_hint("SET pgweave.shard or pgweave.shard_key to say where it runs.")
                .at(self.source.sql, location)
        };
        let refused = match look_up(&self.context, Some(schema), relation) {
            Found::Table(table) => match table.kind {
                TableKind::Sharded { .. } => Some(refusal("sharded table")),
                TableKind::Reference if volatility == Volatility::Volatile => {
                    Some(refusal("reference table"))
                }
                TableKind::Reference => None,
                TableKind::Unsharded { shard } => {
                    let home = format!("{schema}.{relation}");
                    self.bound.findings.home(shard, home);
                    None
                }
            },
            Found::View(_) | Found::Pgweave => Some(refusal("view")),
            Found::System => None,
            Found::Temporary(shard) => {
                self.bound.findings.home(shard, relation);
                None
            }
            Found::Unknown => {
                let default = self.context.catalog.default_shard();
                let home = format!("{schema}.{relation}");
                self.bound.findings.home(default, home);
                None
            }
        };
        match refused {
            Some(error) => self.bound.findings.refuse(error),
            None => {
                self.used(schema, relation, Event::Use);
                if volatility == Volatility::Volatile {
                    self.used(schema, relation, Event::Write);
                }
            }
        }
    }
}
