//! One version of the catalog: what a statement is planned and routed by.

use std::collections::{BTreeSet, HashMap};

use crate::{
    AutoShard, CatalogBuilder, ClusterId, Epoch, Function, Group, GroupId, Reaction, Sequence,
    Shard, ShardId, Table, TableId, View,
};

/// An immutable snapshot, validated by [`CatalogBuilder::build`]. Share it as `Arc<Catalog>`. Lookups do not allocate.
#[derive(Clone, Debug)]
pub struct Catalog {
    pub(crate) epoch: Epoch,
    pub(crate) cluster_id: ClusterId,
    pub(crate) default_shard: ShardId,
    pub(crate) catalog_shard: Option<ShardId>,
    /// Sorted by id, as are groups and tables.
    pub(crate) shards: Vec<Shard>,
    pub(crate) groups: Vec<Group>,
    pub(crate) tables: Vec<Table>,
    pub(crate) views: Vec<View>,
    pub(crate) functions: HashMap<Box<str>, Vec<Function>>,
    /// Sorted.
    pub(crate) reactions: Vec<Reaction>,
    pub(crate) sequences: Vec<Sequence>,
    pub(crate) auto_shard: Vec<AutoShard>,
    pub(crate) schemas: BTreeSet<String>,
    /// By schema, then by name.
    pub(crate) names: HashMap<Box<str>, SchemaNames>,
}

pub(crate) type SchemaNames = HashMap<Box<str>, RelationSlot>;

/// Index into the list of its kind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RelationSlot {
    Table(usize),
    View(usize),
    Sequence(usize),
}

/// What a name in FROM stands for.
#[derive(Clone, Copy, Debug)]
pub enum Relation<'a> {
    Table(&'a Table),
    View(&'a View),
}

impl Catalog {
    /// A catalog of nothing: no shard, epoch 0. Its default shard does not exist.
    pub fn empty() -> Catalog {
        Catalog {
            epoch: Epoch(0),
            cluster_id: ClusterId([0; 16]),
            default_shard: ShardId(0),
            catalog_shard: None,
            shards: Vec::new(),
            groups: Vec::new(),
            tables: Vec::new(),
            views: Vec::new(),
            functions: HashMap::new(),
            reactions: Vec::new(),
            sequences: Vec::new(),
            auto_shard: Vec::new(),
            schemas: BTreeSet::new(),
            names: HashMap::new(),
        }
    }

    pub fn builder() -> CatalogBuilder {
        CatalogBuilder::new()
    }

    /// A builder that holds all of this catalog, to make the next one from it.
    pub fn to_builder(&self) -> CatalogBuilder {
        CatalogBuilder {
            epoch: Some(self.epoch),
            cluster_id: Some(self.cluster_id),
            shards: self.shards.clone(),
            default_shard: (!self.shards.is_empty()).then_some(self.default_shard),
            catalog_shard: self.catalog_shard,
            groups: self.groups.clone(),
            tables: self.tables.clone(),
            views: self.views.clone(),
            functions: self.functions.values().flatten().cloned().collect(),
            reactions: self.reactions.clone(),
            sequences: self.sequences.clone(),
            auto_shard: self.auto_shard.clone(),
            schemas: self.schemas.clone(),
        }
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    /// All shards, by id.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    pub fn shard(&self, id: ShardId) -> Option<&Shard> {
        find(&self.shards, id, |shard| shard.id)
    }

    pub fn shard_by_name(&self, name: &str) -> Option<&Shard> {
        self.shards.iter().find(|shard| shard.name == name)
    }

    /// Where relations live that the catalog does not know.
    pub fn default_shard(&self) -> ShardId {
        self.default_shard
    }

    /// The shard that holds schema `pgweave`; `None` if a server of its own does.
    pub fn catalog_shard(&self) -> Option<ShardId> {
        self.catalog_shard
    }

    /// All colocation groups, by id.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub fn group(&self, id: GroupId) -> Option<&Group> {
        find(&self.groups, id, |group| group.id)
    }

    /// All tables, by id.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    pub fn table(&self, schema: &str, name: &str) -> Option<&Table> {
        match self.slot(schema, name)? {
            RelationSlot::Table(index) => self.tables.get(index),
            RelationSlot::View(_) | RelationSlot::Sequence(_) => None,
        }
    }

    pub fn table_by_id(&self, id: TableId) -> Option<&Table> {
        find(&self.tables, id, |table| table.id)
    }

    pub fn views(&self) -> &[View] {
        &self.views
    }

    pub fn view(&self, schema: &str, name: &str) -> Option<&View> {
        match self.slot(schema, name)? {
            RelationSlot::View(index) => self.views.get(index),
            RelationSlot::Table(_) | RelationSlot::Sequence(_) => None,
        }
    }

    /// All functions of this name, in any schema, in the order they were added.
    pub fn functions(&self, name: &str) -> &[Function] {
        self.functions.get(name).map_or(&[], Vec::as_slice)
    }

    /// What this table or view runs by itself.
    pub fn reactions(&self, schema: &str, name: &str) -> &[Reaction] {
        let of = |reaction: &Reaction| {
            (reaction.schema.as_str(), reaction.name.as_str()).cmp(&(schema, name))
        };
        let start = self
            .reactions
            .partition_point(|reaction| of(reaction).is_lt());
        let rest = &self.reactions[start..];
        &rest[..rest.partition_point(|reaction| of(reaction).is_eq())]
    }

    pub fn sequences(&self) -> &[Sequence] {
        &self.sequences
    }

    pub fn sequence(&self, schema: &str, name: &str) -> Option<&Sequence> {
        match self.slot(schema, name)? {
            RelationSlot::Sequence(index) => self.sequences.get(index),
            RelationSlot::Table(_) | RelationSlot::View(_) => None,
        }
    }

    pub fn auto_shard(&self) -> &[AutoShard] {
        &self.auto_shard
    }

    /// Whether users' objects may be in this schema: it exists, as far as this snapshot knows.
    pub fn has_schema(&self, schema: &str) -> bool {
        self.schemas.contains(schema)
    }

    /// The relation that an unqualified name means: the one in the first schema of the path that has it. A
    /// relation that the catalog does not know hides nothing here.
    pub fn resolve_table(&self, search_path: &[String], name: &str) -> Option<Relation<'_>> {
        search_path
            .iter()
            .find_map(|schema| self.relation(schema, name))
    }

    /// The relation of a qualified name.
    pub fn relation(&self, schema: &str, name: &str) -> Option<Relation<'_>> {
        match self.slot(schema, name)? {
            RelationSlot::Table(index) => self.tables.get(index).map(Relation::Table),
            RelationSlot::View(index) => self.views.get(index).map(Relation::View),
            RelationSlot::Sequence(_) => None,
        }
    }

    fn slot(&self, schema: &str, name: &str) -> Option<RelationSlot> {
        self.names.get(schema)?.get(name).copied()
    }
}

fn find<Item, Id: Ord>(sorted: &[Item], id: Id, id_of: impl Fn(&Item) -> Id) -> Option<&Item> {
    let index = sorted.binary_search_by_key(&id, id_of).ok()?;
    sorted.get(index)
}
