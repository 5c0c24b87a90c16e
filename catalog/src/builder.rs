//! Collects the parts of a catalog.

use std::collections::{BTreeSet, HashMap};

use crate::{
    AutoShard, Catalog, ClusterId, Epoch, Error, Function, Group, Reached, Reaction, Sequence,
    Shard, ShardId, Table, View,
};

/// Makes a [`Catalog`]. Parts may be added in any order; [`CatalogBuilder::build`] checks them.
#[derive(Clone, Debug, Default)]
pub struct CatalogBuilder {
    pub(crate) epoch: Option<Epoch>,
    pub(crate) cluster_id: Option<ClusterId>,
    pub(crate) shards: Vec<Shard>,
    pub(crate) default_shard: Option<ShardId>,
    pub(crate) catalog_shard: Option<ShardId>,
    pub(crate) groups: Vec<Group>,
    pub(crate) tables: Vec<Table>,
    pub(crate) views: Vec<View>,
    pub(crate) functions: Vec<Function>,
    pub(crate) reactions: Vec<Reaction>,
    pub(crate) sequences: Vec<Sequence>,
    pub(crate) auto_shard: Vec<AutoShard>,
    pub(crate) schemas: BTreeSet<String>,
}

impl CatalogBuilder {
    pub fn new() -> CatalogBuilder {
        CatalogBuilder::default()
    }

    pub fn epoch(mut self, epoch: Epoch) -> Self {
        self.epoch = Some(epoch);
        self
    }

    pub fn cluster_id(mut self, cluster_id: ClusterId) -> Self {
        self.cluster_id = Some(cluster_id);
        self
    }

    pub fn shard(mut self, shard: Shard) -> Self {
        self.shards.push(shard);
        self
    }

    /// Where unregistered relations live. Without it, the shard with the least id.
    pub fn default_shard(mut self, shard: ShardId) -> Self {
        self.default_shard = Some(shard);
        self
    }

    /// The shard that holds schema `pgweave`, or `None` if a server of its own does. `None` at first.
    pub fn catalog_shard(mut self, shard: Option<ShardId>) -> Self {
        self.catalog_shard = shard;
        self
    }

    pub fn group(mut self, group: Group) -> Self {
        self.groups.push(group);
        self
    }

    pub fn table(mut self, table: Table) -> Self {
        self.tables.push(table);
        self
    }

    pub fn view(mut self, view: View) -> Self {
        self.views.push(view);
        self
    }

    pub fn function(mut self, function: Function) -> Self {
        self.functions.push(function);
        self
    }

    /// What a relation runs by itself; the relation need not be one of the catalog's.
    pub fn reaction(mut self, reaction: Reaction) -> Self {
        self.reactions.push(reaction);
        self
    }

    /// Replaces what a relation runs by itself.
    pub fn with_reactions(mut self, schema: &str, name: &str, reactions: Vec<Reaction>) -> Self {
        self.reactions
            .retain(|reaction| reaction.schema != schema || reaction.name != name);
        self.reactions.extend(reactions);
        self
    }

    /// Reactions go by the new name of what they are of, or reach for.
    pub fn with_reactions_renamed(mut self, old: (&str, &str), new: (&str, &str)) -> Self {
        let rename = |schema: &mut String, name: &mut String| {
            if (schema.as_str(), name.as_str()) == old {
                (*schema, *name) = (new.0.to_owned(), new.1.to_owned());
            }
        };
        for reaction in &mut self.reactions {
            rename(&mut reaction.schema, &mut reaction.name);
            match &mut reaction.reaches {
                Reached::Relation(schema, name) | Reached::Along(schema, name) => {
                    rename(schema, name)
                }
                Reached::Function(..) => {}
            }
        }
        self
    }

    pub fn sequence(mut self, sequence: Sequence) -> Self {
        self.sequences.push(sequence);
        self
    }

    pub fn auto_shard(mut self, auto_shard: AutoShard) -> Self {
        self.auto_shard.push(auto_shard);
        self
    }

    /// A schema that exists. Those of relations need no mention.
    pub fn schema(mut self, schema: String) -> Self {
        self.schemas.insert(schema);
        self
    }

    /// Removes the table, view or sequence of this name, if there is one.
    pub fn without_relation(mut self, schema: &str, name: &str) -> Self {
        self.tables
            .retain(|table| table.schema != schema || table.name != name);
        self.views
            .retain(|view| view.schema != schema || view.name != name);
        self.sequences
            .retain(|sequence| sequence.schema != schema || sequence.name != name);
        self
    }

    /// Replaces the rule of automatic sharding by this column.
    pub fn with_auto_shard(mut self, auto_shard: AutoShard) -> Self {
        self.auto_shard
            .retain(|rule| rule.column != auto_shard.column);
        self.auto_shard.push(auto_shard);
        self
    }

    /// Checks everything and freezes it. The first fault found is the error.
    pub fn build(mut self) -> Result<Catalog, Error> {
        self.shards.sort_by_key(|shard| shard.id);
        self.groups.sort_by_key(|group| group.id);
        self.tables.sort_by_key(|table| table.id);
        let names = self.validate()?;
        self.schemas
            .extend(names.keys().map(|schema| String::from(&**schema)));
        let mut functions: HashMap<Box<str>, Vec<Function>> = HashMap::new();
        for function in self.functions {
            functions
                .entry(function.name.as_str().into())
                .or_default()
                .push(function);
        }
        self.reactions.sort();
        let first_shard = self.shards.first().map(|shard| shard.id);
        Ok(Catalog {
            epoch: self.epoch.unwrap_or(Epoch(0)),
            cluster_id: self.cluster_id.unwrap_or(ClusterId([0; 16])),
            default_shard: self.default_shard.or(first_shard).unwrap_or(ShardId(0)),
            catalog_shard: self.catalog_shard,
            shards: self.shards,
            groups: self.groups,
            tables: self.tables,
            views: self.views,
            functions,
            reactions: self.reactions,
            sequences: self.sequences,
            auto_shard: self.auto_shard,
            schemas: self.schemas,
            names,
        })
    }
}
