//! COPY FROM STDIN into a sharded table or a reference table.
//!
//! Entry points: [`load`], and [`Load::shard`] for each row. The options are read as PostgreSQL reads them; a statement that it would
//! refuse goes to one shard, which says so.

use catalog::{Catalog, KeyValue, ShardId, Table, TableKind};
use smallvec::SmallVec;

use crate::bind::Binder;
use crate::build::option_text;
use crate::convert::{in_range, in_role, text_key};
use crate::operand::Source;
use crate::parse::{Node, NodeList, nodes};
use crate::utility::single;
use crate::{
    Context, Error, KeyRole, Load, LoadFormat, LoadKey, LoadTarget, Plan, ReferenceWrite, Route,
};

/// Plans `COPY table FROM STDIN` of a table that is on more than one shard.
pub(crate) fn load(
    copy: &nodes::CopyStmt,
    table: &Table,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let relation = copy.relation();
    let refused = |what: &str| {
        Error::unsupported(format!("COPY into {} {what}", table.name)).at(
            source.sql,
            relation.map_or(-1, |relation| relation.location),
        )
    };
    if copy.is_program || copy.filename().is_some() {
        return Err(refused("from a file of a server")
            .with_hint("Send the data: COPY … FROM STDIN, or \\copy in psql."));
    }
    let options =
        Options::read(copy).map_err(|option| refused(&format!("with the option {option}")))?;
    let columns: Option<Vec<&str>> = match copy.attlist().is_empty() {
        true => None,
        false => Some(copy.attlist().iter().filter_map(Node::as_str).collect()),
    };
    let unknown = columns
        .iter()
        .flatten()
        .any(|name| table.column(name).is_none());
    let Some(options) = options.filter(|_| !unknown) else {
        // One server says what is wrong.
        let shard = match &table.kind {
            TableKind::Sharded { group, .. } => context
                .catalog
                .group(*group)
                .and_then(|group| group.map.shards().first().copied()),
            TableKind::Reference | TableKind::Unsharded { .. } => None,
        };
        let shard = shard.unwrap_or(context.catalog.default_shard());
        return Ok(Plan::Single(single(Route::Shard(shard), "COPY")));
    };
    let target = match &table.kind {
        TableKind::Sharded { group, key } => {
            let key = key
                .iter()
                .map(|key| {
                    let position = match &columns {
                        Some(columns) => columns.iter().position(|name| *name == key.name),
                        None => table
                            .columns
                            .iter()
                            .position(|column| column.name == key.name),
                    };
                    let position = position.ok_or_else(|| {
                        refused(&format!("without values for its shard key {}", key.name))
                            .with_hint(format!("Add {} to the columns and the data.", key.name))
                    })?;
                    let column = table.column(&key.name).ok_or_else(|| {
                        Error::internal("a shard key column that its table does not have")
                    })?;
                    Ok(LoadKey {
                        position,
                        key_type: key.key_type,
                        type_oid: column.type_oid,
                        type_modifier: column.type_modifier,
                        force_null: options.force_null.holds(&key.name),
                        force_not_null: options.force_not_null.holds(&key.name),
                    })
                })
                .collect::<Result<_, Error>>()?;
            LoadTarget::Rows { group: *group, key }
        }
        TableKind::Reference => {
            if !matches!(copy.where_clause(), Node::None) {
                return Err(refused("with WHERE, because it is a reference table")
                    .with_hint("Load a table of its own first, or filter the data."));
            }
            let mut binder = Binder::new(*context, source);
            let named: Vec<String> = columns
                .iter()
                .flatten()
                .map(|name| (*name).into())
                .collect();
            if columns.is_some() {
                binder.judge_defaults(table, Some(&named));
            }
            if let Some(what) = &binder.bound.findings.unsettled {
                return Err(refused(&format!(
                    "whose result may differ between its copies: {what}"
                ))
                .with_hint("Give values for the column."));
            }
            LoadTarget::Copies(ReferenceWrite {
                tables: vec![table.id],
                reads: false,
            })
        }
        TableKind::Unsharded { .. } => {
            return Err(Error::internal("a table on one shard is loaded by several"));
        }
    };
    Ok(Plan::Load(Load {
        table: table.name.clone(),
        target,
        format: options.format,
        header: options.header,
        all_columns: columns.is_none().then_some(table.columns.len()),
    }))
}

/// Which columns FORCE_NULL and its like name.
enum Columns {
    None,
    All,
    Named(Vec<String>),
}

impl Columns {
    fn holds(&self, name: &str) -> bool {
        match self {
            Columns::None => false,
            Columns::All => true,
            Columns::Named(names) => names.iter().any(|known| known == name),
        }
    }

    fn read(argument: Node<'_>) -> Columns {
        let names = |list: &NodeList| {
            let names = list.iter().filter_map(Node::as_str);
            Columns::Named(names.map(str::to_owned).collect())
        };
        match argument {
            Node::A_Star(_) => Columns::All,
            Node::NodeList(list) => names(list),
            _ => Columns::None,
        }
    }
}

struct Options {
    format: LoadFormat,
    header: bool,
    force_null: Columns,
    force_not_null: Columns,
}

impl Options {
    /// `Ok(None)`: PostgreSQL refuses them. The error is the name of an option that cannot be kept over several shards.
    fn read(copy: &nodes::CopyStmt) -> Result<Option<Options>, String> {
        let mut format = None;
        let mut header = false;
        let (mut delimiter, mut quote, mut escape, mut null) = (None, None, None, None);
        let (mut force_null, mut force_not_null) = (Columns::None, Columns::None);
        for option in copy.options() {
            let name = option.defname().unwrap_or_default();
            let value = option_text(option);
            let byte = |into: &mut Option<u8>| match value.as_deref().map(str::as_bytes) {
                Some([byte]) => {
                    *into = Some(*byte);
                    true
                }
                _ => false,
            };
            let is_read = match name {
                "format" => {
                    format = value.clone();
                    true
                }
                "delimiter" => byte(&mut delimiter),
                "quote" => byte(&mut quote),
                "escape" => byte(&mut escape),
                "null" => {
                    null = value.clone();
                    true
                }
                "header" => {
                    header = !matches!(value.as_deref(), Some("false" | "off" | "0"));
                    true
                }
                "force_null" => {
                    force_null = Columns::read(option.arg());
                    true
                }
                "force_not_null" => {
                    force_not_null = Columns::read(option.arg());
                    true
                }
                "encoding"
                    if value.as_deref().is_some_and(|encoding| {
                        let plain: String = encoding
                            .chars()
                            .filter(char::is_ascii_alphanumeric)
                            .collect();
                        plain.eq_ignore_ascii_case("utf8")
                    }) =>
                {
                    true
                }
                "freeze" if matches!(value.as_deref(), Some("false" | "off" | "0")) => true,
                other => return Err(other.to_uppercase()),
            };
            if !is_read {
                return Ok(None);
            }
        }
        let is_odd = |byte: u8| byte == b'\n' || byte == b'\r';
        let format = match format.as_deref().unwrap_or("text") {
            "text" if quote.is_none() && escape.is_none() => LoadFormat::Text {
                delimiter: delimiter.unwrap_or(b'\t'),
                null: null.unwrap_or_else(|| "\\N".to_owned()),
            },
            "csv" => {
                let quote = quote.unwrap_or(b'"');
                LoadFormat::Csv {
                    delimiter: delimiter.unwrap_or(b','),
                    quote,
                    escape: escape.unwrap_or(quote),
                    null: null.unwrap_or_default(),
                }
            }
            "binary" if delimiter.is_none() && null.is_none() && !header => LoadFormat::Binary,
            _ => return Ok(None),
        };
        let odd = match &format {
            LoadFormat::Text { delimiter, .. } => {
                is_odd(*delimiter) || b"\\.abcdefghijklmnopqrstuvwxyz0123456789".contains(delimiter)
            }
            LoadFormat::Csv {
                delimiter,
                quote,
                escape,
                ..
            } => is_odd(*delimiter) || is_odd(*quote) || is_odd(*escape) || delimiter == quote,
            LoadFormat::Binary => false,
        };
        Ok((!odd).then_some(Options {
            format,
            header,
            force_null,
            force_not_null,
        }))
    }
}

impl Load {
    /// The shard of a row with these values of its key, in the key's order; `None`: one is NULL, or the column does not take it.
    ///
    /// Errors: 23514 when no placement covers the key, 0A000 for a value that only a server can read.
    pub fn shard(
        &self,
        catalog: &Catalog,
        values: &[Option<&[u8]>],
    ) -> Result<Option<ShardId>, Error> {
        let LoadTarget::Rows { group, key } = &self.target else {
            return Ok(None);
        };
        let group = catalog.group(*group).ok_or_else(|| {
            Error::internal("a plan names a colocation group that the catalog does not have")
        })?;
        let mut found: SmallVec<[KeyValue; 2]> = SmallVec::new();
        for (column, value) in key.iter().zip(values) {
            let role = KeyRole::Stored {
                type_modifier: column.type_modifier,
            };
            let Some(bytes) = value else {
                return Ok(None);
            };
            let value = match self.format {
                LoadFormat::Binary => {
                    match KeyValue::from_binary(column.type_oid, bytes, column.key_type) {
                        Ok(KeyValue::Int(number)) if !in_range(number, column.key_type) => None,
                        Ok(value) => in_role(value, column.key_type, role),
                        Err(_) => None,
                    }
                }
                LoadFormat::Text { .. } | LoadFormat::Csv { .. } => {
                    match std::str::from_utf8(bytes) {
                        Ok(text) => text_key(text, None, column.key_type, role)?,
                        Err(_) => None,
                    }
                }
            };
            match value {
                Some(value) => found.push(value),
                None => return Ok(None),
            }
        }
        group
            .map
            .shard(&group.types, &found)
            .map(Some)
            .map_err(|error| Error::Unmapped {
                message: "no placement covers the shard key".into(),
                detail: Some(error.to_string()),
            })
    }
}
