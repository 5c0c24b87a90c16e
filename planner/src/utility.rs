//! Statements that are neither queries nor DDL: transactions, settings, cursors, prepared statements, COPY, upkeep.
//!
//! Entry point: [`statement`]; DDL is handed on to `ddl`. What only the session can answer becomes a [`SessionStatement`].

use catalog::TableKind;

use crate::build::{self, To, option_text, route};
use crate::operand::Source;
use crate::parse::{
    ConstValue, DiscardMode, Node, NodeList, TransactionStmtKind, VariableSetKind, nodes,
};
use crate::placement::{Placement, everywhere_of, placement_of};
use crate::relation::creation_schema;
use crate::scan::{Piece, piece};
use crate::{
    Access, Change, Context, DdlEffect, Discard, Effects, Error, Everywhere, EverywhereKind,
    Explain, ExplainFormat, Isolation, Name, NewTable, Pins, Plan, Route, SessionStatement,
    SetScope, SetValue, Single, StatementTag, TransactionModes, Where, ddl, operator,
};

const CURSOR_BINARY: i32 = 1;
const CURSOR_SCROLL: i32 = 2;
const CURSOR_NO_SCROLL: i32 = 4;
const CURSOR_HOLD: i32 = 32;

/// Plans a utility statement. `span`: its bytes in the source.
pub(crate) fn statement(
    node: Node<'_>,
    span: (usize, usize),
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let own = source.sql.get(span.0..span.1).unwrap_or(source.sql);
    let session = |statement| Ok(Plan::Session(statement));
    match node {
        Node::TransactionStmt(statement) => transaction(statement).map(Plan::Session),
        Node::VariableSetStmt(set) => variable_set(set, source).map(Plan::Session),
        Node::VariableShowStmt(show) => {
            let name = show.name().unwrap_or_default();
            session(SessionStatement::Show(match operator::shown(name) {
                Some(own) => Some(own),
                None => (!name.eq_ignore_ascii_case("all")).then(|| name.to_owned()),
            }))
        }
        Node::DiscardStmt(discard) => session(SessionStatement::Discard(match discard.target {
            DiscardMode::DISCARD_PLANS => Discard::Plans,
            DiscardMode::DISCARD_SEQUENCES => Discard::Sequences,
            DiscardMode::DISCARD_TEMP => Discard::Temp,
            _ => Discard::All,
        })),
        Node::PrepareStmt(prepare) => prepared(prepare, own, source, context).map(Plan::Session),
        Node::ExecuteStmt(execute) => session(SessionStatement::Execute {
            name: execute.name().unwrap_or_default().to_owned(),
            arguments: argument_texts(own, execute.params().len())?,
        }),
        Node::DeallocateStmt(deallocate) => session(SessionStatement::Deallocate(
            deallocate.name().map(str::to_owned),
        )),
        Node::DeclareCursorStmt(declare) => {
            declared(declare, span, source, context).map(Plan::Session)
        }
        Node::FetchStmt(fetch) => session(SessionStatement::Fetch {
            name: fetch.portalname().unwrap_or_default().to_owned(),
            is_move: fetch.ismove,
        }),
        Node::ClosePortalStmt(close) => session(SessionStatement::CloseCursor(
            close.portalname().map(str::to_owned),
        )),
        Node::ListenStmt(listen) => session(SessionStatement::Listen(
            listen.conditionname().unwrap_or_default().to_owned(),
        )),
        Node::UnlistenStmt(unlisten) => session(SessionStatement::Unlisten(
            unlisten.conditionname().map(str::to_owned),
        )),
        Node::NotifyStmt(notify) => session(SessionStatement::Notify {
            channel: notify.conditionname().unwrap_or_default().to_owned(),
            payload: notify.payload().map(str::to_owned),
        }),
        Node::ConstraintsSetStmt(set) => session(SessionStatement::SetConstraints {
            deferred: set.deferred,
            names: (!set.constraints().is_empty()).then(|| range_names(set.constraints())),
        }),
        Node::ExplainStmt(explain) => explained(explain, span, source, context).map(Plan::Explain),
        Node::CopyStmt(copy) => copied(copy, source, context),
        Node::CreateTableAsStmt(create) => match (create.into(), create.query()) {
            (Some(into), query @ Node::SelectStmt(_)) => {
                let view = create.objtype == crate::parse::ObjectType::OBJECT_MATVIEW;
                create_table_as(query, into, view, source, context)
            }
            _ => Err(Error::unsupported("CREATE TABLE AS EXECUTE")
                .with_hint("Create the table, then INSERT … SELECT.")),
        },
        Node::TruncateStmt(truncate) => truncated(truncate, source, context),
        Node::VacuumStmt(vacuum) => vacuumed(vacuum, source, context),
        Node::LockStmt(lock) => {
            let placement = common(lock.relations(), source, context)?;
            Ok(everywhere_of(placement, "LOCK TABLE", EverywhereKind::Rows))
        }
        Node::ClusterStmt(cluster) => match cluster.relation() {
            Some(relation) => {
                let placement = placement_of(relation, source, context)?;
                Ok(everywhere_of(
                    placement,
                    "CLUSTER",
                    EverywhereKind::Maintenance,
                ))
            }
            None => Ok(outside_block(everywhere_of(
                Placement::All,
                "CLUSTER",
                EverywhereKind::Maintenance,
            ))),
        },
        Node::CheckPointStmt(_) => Ok(everywhere_of(
            Placement::All,
            "CHECKPOINT",
            EverywhereKind::Maintenance,
        )),
        Node::LoadStmt(_) => Ok(Plan::Single(Single {
            pins: Pins::UNTRACKED,
            ..single(Route::Any, "LOAD")
        })),
        Node::DoStmt(_) => opaque_code("DO", context),
        Node::CallStmt(call) => called(call, source, context),
        _ => ddl::statement(node, source, context),
    }
}

/// A statement for one shard that writes and returns nothing.
pub(crate) fn single(route: Route, tag: &'static str) -> Single {
    Single {
        route,
        access: Access::Write,
        parameters: 0,
        pins: Pins::NONE,
        tag: StatementTag(tag),
        returns_rows: false,
        no_block: false,
        effects: Effects::default(),
    }
}

pub(crate) fn outside_block(mut plan: Plan) -> Plan {
    match &mut plan {
        Plan::Single(single) => single.no_block = true,
        Plan::Everywhere(everywhere) => everywhere.no_block = true,
        Plan::Session(_) | Plan::Admin(_) | Plan::Explain(_) => {}
    }
    plan
}

fn transaction(statement: &nodes::TransactionStmt) -> Result<SessionStatement, Error> {
    let savepoint = || statement.savepoint_name().unwrap_or_default().to_owned();
    let gid = || statement.gid().unwrap_or_default().to_owned();
    Ok(match statement.kind {
        TransactionStmtKind::TRANS_STMT_BEGIN | TransactionStmtKind::TRANS_STMT_START => {
            SessionStatement::Begin {
                modes: modes(statement.options()),
            }
        }
        TransactionStmtKind::TRANS_STMT_COMMIT => SessionStatement::Commit {
            chain: statement.chain,
        },
        TransactionStmtKind::TRANS_STMT_ROLLBACK => SessionStatement::Rollback {
            chain: statement.chain,
        },
        TransactionStmtKind::TRANS_STMT_SAVEPOINT => SessionStatement::Savepoint(savepoint()),
        TransactionStmtKind::TRANS_STMT_RELEASE => SessionStatement::Release(savepoint()),
        TransactionStmtKind::TRANS_STMT_ROLLBACK_TO => SessionStatement::RollbackTo(savepoint()),
        TransactionStmtKind::TRANS_STMT_PREPARE => SessionStatement::PrepareTransaction(gid()),
        TransactionStmtKind::TRANS_STMT_COMMIT_PREPARED => SessionStatement::CommitPrepared(gid()),
        TransactionStmtKind::TRANS_STMT_ROLLBACK_PREPARED => {
            SessionStatement::RollbackPrepared(gid())
        }
        _ => {
            return Err(Error::internal(
                "a transaction statement that no text can ask for",
            ));
        }
    })
}

fn modes(options: &NodeList) -> TransactionModes {
    let mut modes = TransactionModes::default();
    for option in options {
        let Node::DefElem(option) = option else {
            continue;
        };
        let Node::A_Const(value) = option.arg() else {
            continue;
        };
        match (option.defname(), value.val()) {
            (Some("transaction_isolation"), Some(ConstValue::String(level))) => {
                modes.isolation = match level {
                    "read uncommitted" => Some(Isolation::ReadUncommitted),
                    "read committed" => Some(Isolation::ReadCommitted),
                    "repeatable read" => Some(Isolation::RepeatableRead),
                    "serializable" => Some(Isolation::Serializable),
                    _ => None,
                }
            }
            (Some("transaction_read_only"), Some(ConstValue::Integer(value))) => {
                modes.read_only = Some(value != 0)
            }
            (Some("transaction_deferrable"), Some(ConstValue::Integer(value))) => {
                modes.deferrable = Some(value != 0)
            }
            _ => {}
        }
    }
    modes
}

fn variable_set(
    set: &nodes::VariableSetStmt,
    source: Source<'_>,
) -> Result<SessionStatement, Error> {
    let name = set.name().unwrap_or_default().to_owned();
    let scope = if set.is_local {
        SetScope::Local
    } else {
        SetScope::Session
    };
    Ok(match set.kind {
        VariableSetKind::VAR_SET_MULTI => match name.as_str() {
            "TRANSACTION" => SessionStatement::SetTransaction {
                modes: modes(set.args()),
            },
            "SESSION CHARACTERISTICS" => SessionStatement::SetSessionCharacteristics {
                modes: modes(set.args()),
            },
            _ => match set.args().first() {
                Some(Node::A_Const(value)) => SessionStatement::SetSnapshot(
                    value
                        .val()
                        .map(|value| value.to_string())
                        .unwrap_or_default(),
                ),
                _ => return Err(Error::internal("SET TRANSACTION SNAPSHOT without a name")),
            },
        },
        VariableSetKind::VAR_RESET => SessionStatement::Reset(Some(name)),
        VariableSetKind::VAR_RESET_ALL => SessionStatement::Reset(None),
        VariableSetKind::VAR_SET_DEFAULT => SessionStatement::Set {
            scope,
            name,
            value: SetValue::Default,
        },
        VariableSetKind::VAR_SET_CURRENT => SessionStatement::Set {
            scope,
            name,
            value: SetValue::Current,
        },
        _ => SessionStatement::Set {
            scope,
            name,
            value: set_value(set.args(), source)?,
        },
    })
}

fn set_value(arguments: &NodeList, source: Source<'_>) -> Result<SetValue, Error> {
    let mut items = Vec::new();
    let mut texts = Vec::new();
    for argument in arguments {
        match argument {
            Node::A_Const(constant) => {
                let item = constant
                    .val()
                    .map(|value| value.to_string())
                    .unwrap_or_default();
                texts.push(catalog::quote_literal(&item));
                items.push(item);
            }
            // SET TIME ZONE INTERVAL '…': the only other form.
            Node::TypeCast(cast) => {
                if let Node::A_Const(constant) = cast.arg() {
                    let item = constant
                        .val()
                        .map(|value| value.to_string())
                        .unwrap_or_default();
                    texts.push(format!("INTERVAL {}", catalog::quote_literal(&item)));
                    items.push(item);
                }
                if cast
                    .type_name()
                    .is_some_and(|name| !name.typmods().is_empty())
                {
                    return Err(
                        Error::unsupported("SET TIME ZONE with an interval's fields")
                            .with_hint("Write the offset as a string, such as '+02:00'."),
                    );
                }
            }
            Node::ParamRef(parameter) => {
                return Err(Error::Syntax {
                    sqlstate: "42601",
                    message: format!("syntax error at or near \"${}\"", parameter.number),
                    detail: None,
                    hint: None,
                    position: None,
                }
                .at(source.sql, parameter.location));
            }
            _ => {
                return Err(Error::unsupported(
                    "this value of a setting is not supported by the router",
                ));
            }
        }
    }
    Ok(SetValue::Values {
        items,
        text: texts.join(", "),
    })
}

fn range_names(list: &NodeList) -> Vec<String> {
    list.iter()
        .filter_map(|node| match node {
            Node::RangeVar(name) => Some(match name.schemaname() {
                Some(schema) => format!("{schema}.{}", name.relname().unwrap_or_default()),
                None => name.relname().unwrap_or_default().to_owned(),
            }),
            _ => None,
        })
        .collect()
}

/// `PREPARE name (types) AS statement`: the tree does not say where the statement starts, its tokens do.
fn prepared(
    prepare: &nodes::PrepareStmt,
    own: &str,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<SessionStatement, Error> {
    let text = own.as_bytes();
    let unclear = || Error::internal("PREPARE whose parts cannot be told apart");
    let (_, keyword) = piece(text, 0).ok_or_else(unclear)?;
    let (_, name) = piece(text, keyword.end).ok_or_else(unclear)?;
    let (mut next, mut range) = piece(text, name.end).ok_or_else(unclear)?;
    let mut types = Vec::new();
    if next == Piece::Mark(b'(') {
        let (parts, end) = parenthesized(text, range.start).ok_or_else(unclear)?;
        types = parts
            .into_iter()
            .filter_map(|part| own.get(part).map(|text| text.trim().to_owned()))
            .collect();
        (next, range) = piece(text, end).ok_or_else(unclear)?;
    }
    if next != Piece::Word {
        return Err(unclear());
    }
    let (_, statement) = piece(text, range.end).ok_or_else(unclear)?;
    let inner = build::statement(
        prepare.query(),
        (0, source.sql.len()),
        Source {
            literals: None,
            ..source
        },
        context,
    )?;
    Ok(SessionStatement::Prepare {
        name: prepare.name().unwrap_or_default().to_owned(),
        types,
        statement: statement.start..own.len(),
        plan: Box::new(inner.plan),
    })
}

/// The parts between commas of a parenthesis that opens at `at`, and where it has closed.
fn parenthesized(text: &[u8], at: usize) -> Option<(Vec<std::ops::Range<usize>>, usize)> {
    let mut depth = 0usize;
    let mut parts = Vec::new();
    let mut next = at;
    let mut start = at + 1;
    loop {
        let (kind, range) = piece(text, next)?;
        next = range.end;
        match kind {
            Piece::Mark(b'(' | b'[') => depth += 1,
            Piece::Mark(b')' | b']') => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    parts.push(start..range.start);
                    return Some((parts, range.end));
                }
            }
            Piece::Mark(b',') if depth == 1 => {
                parts.push(start..range.start);
                start = range.end;
            }
            Piece::Mark(_) | Piece::Word => {}
        }
    }
}

fn argument_texts(own: &str, count: usize) -> Result<Vec<String>, Error> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let text = own.as_bytes();
    let open = piece(text, 0)
        .and_then(|(_, keyword)| piece(text, keyword.end))
        .and_then(|(_, name)| piece(text, name.end));
    let parts = open
        .and_then(|(_, range)| parenthesized(text, range.start))
        .map(|(parts, _)| parts)
        .unwrap_or_default();
    if parts.len() != count {
        return Err(Error::internal(
            "EXECUTE whose arguments cannot be told apart",
        ));
    }
    Ok(parts
        .into_iter()
        .filter_map(|part| own.get(part).map(|text| text.trim().to_owned()))
        .collect())
}

fn declared(
    declare: &nodes::DeclareCursorStmt,
    span: (usize, usize),
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<SessionStatement, Error> {
    let inner = build::statement(
        declare.query(),
        span,
        Source {
            literals: None,
            ..source
        },
        context,
    )?;
    if !matches!(inner.plan, Plan::Single(_)) {
        return Err(Error::unsupported(
            "a cursor over what one shard cannot answer",
        ));
    }
    let set = |bit: i32| declare.options & bit != 0;
    Ok(SessionStatement::Declare {
        name: declare.portalname().unwrap_or_default().to_owned(),
        hold: set(CURSOR_HOLD),
        scroll: if set(CURSOR_SCROLL) {
            Some(true)
        } else if set(CURSOR_NO_SCROLL) {
            Some(false)
        } else {
            None
        },
        binary: set(CURSOR_BINARY),
        plan: Box::new(inner.plan),
    })
}

fn explained(
    explain: &nodes::ExplainStmt,
    span: (usize, usize),
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Explain, Error> {
    let inner = build::statement(
        explain.query(),
        span,
        Source {
            literals: None,
            ..source
        },
        context,
    )?
    .plan;
    let options: Vec<(String, Option<String>)> = explain
        .options()
        .iter()
        .map(|option| {
            (
                option.defname().unwrap_or_default().to_ascii_lowercase(),
                option_text(option),
            )
        })
        .collect();
    let on =
        |value: &Option<String>| !matches!(value.as_deref(), Some("off" | "false" | "0" | "no"));
    let format = match options
        .iter()
        .find(|(name, _)| name == "format")
        .and_then(|(_, value)| value.as_deref())
    {
        Some("json") => ExplainFormat::Json,
        Some("xml") => ExplainFormat::Xml,
        Some("yaml") => ExplainFormat::Yaml,
        _ => ExplainFormat::Text,
    };
    Ok(Explain {
        inner: Box::new(inner),
        analyze: options
            .iter()
            .any(|(name, value)| name == "analyze" && on(value)),
        has_options: !options.is_empty(),
        options,
        format,
    })
}

fn copied(
    copy: &nodes::CopyStmt,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let access = if copy.is_from {
        Access::Write
    } else {
        Access::Read
    };
    let copy_single = |route, access| {
        Plan::Single(Single {
            access,
            ..single(route, "COPY")
        })
    };
    let Some(relation) = copy.relation() else {
        let routed = route(
            copy.query(),
            Source {
                literals: None,
                ..source
            },
            context,
        )?;
        return match routed.to {
            To::Route(to) => Ok(Plan::Single(Single {
                access: routed.findings.access.unwrap_or(Access::Read),
                pins: routed.findings.pins,
                effects: routed.findings.effects,
                ..single(to, "COPY")
            })),
            To::EveryCopy => Err(Error::unsupported("COPY of a write to a reference table")),
        };
    };
    let name = relation.relname().unwrap_or_default();
    match placement_of(relation, source, context)? {
        Placement::Shard(shard) | Placement::Temporary(shard) => {
            Ok(copy_single(Route::Shard(shard), access))
        }
        Placement::Group(_) => match context.manual {
            Some(shard) => Ok(copy_single(Route::Shard(shard), access)),
            None => Err(Error::unsupported(format!("COPY of the sharded table {name}"))
                .with_hint("COPY (SELECT … WHERE shard key = …) TO, or SET pgweave.shard to copy one shard.")
                .at(source.sql, relation.location)),
        },
        Placement::All if !copy.is_from => Ok(copy_single(Route::Any, access)),
        Placement::All => Err(Error::unsupported(format!("COPY into the reference table {name}"))
            .with_hint("Use INSERT.")
            .at(source.sql, relation.location)),
        Placement::Holding(_) => Err(Error::unsupported(format!("COPY of {name}")).at(source.sql, relation.location)),
    }
}

/// The placement that all tables of a list share.
fn common(list: &NodeList, source: Source<'_>, context: &Context<'_>) -> Result<Placement, Error> {
    let mut placements = Vec::new();
    for node in list {
        if let Node::RangeVar(relation) = node {
            placements.push((
                placement_of(relation, source, context)?,
                relation.relname().unwrap_or_default(),
            ));
        }
    }
    crate::placement::one(placements, context)
}

fn truncated(
    truncate: &nodes::TruncateStmt,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let placement = common(truncate.relations(), source, context)?;
    if truncate.restart_seqs && !matches!(placement, Placement::Shard(_) | Placement::Temporary(_))
    {
        return Err(Error::unsupported(
            "TRUNCATE … RESTART IDENTITY of a sharded or reference table",
        )
        .with_hint("Leave out RESTART IDENTITY: sequences of the cluster only go forward."));
    }
    Ok(everywhere_of(
        placement,
        "TRUNCATE TABLE",
        EverywhereKind::Rows,
    ))
}

fn vacuumed(
    vacuum: &nodes::VacuumStmt,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let mut placements = Vec::new();
    for relation in vacuum
        .rels()
        .iter()
        .filter_map(nodes::VacuumRelation::relation)
    {
        placements.push((
            placement_of(relation, source, context)?,
            relation.relname().unwrap_or_default(),
        ));
    }
    let placement = if placements.is_empty() {
        Placement::All
    } else {
        crate::placement::one(placements, context)?
    };
    let tag = if vacuum.is_vacuumcmd {
        "VACUUM"
    } else {
        "ANALYZE"
    };
    let plan = everywhere_of(placement, tag, EverywhereKind::Maintenance);
    Ok(if vacuum.is_vacuumcmd {
        outside_block(plan)
    } else {
        plan
    })
}

/// CREATE TABLE AS, SELECT INTO and CREATE MATERIALIZED VIEW.
pub(crate) fn create_table_as(
    query: Node<'_>,
    into: &nodes::IntoClause,
    materialized_view: bool,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let what = if materialized_view {
        "CREATE MATERIALIZED VIEW"
    } else {
        "CREATE TABLE AS"
    };
    let Some(relation) = into.rel() else {
        return Err(Error::internal("CREATE TABLE AS without a name"));
    };
    let name = relation.relname().unwrap_or_default().to_owned();
    let routed = route(
        query,
        Source {
            literals: None,
            ..source
        },
        context,
    )?;
    let To::Route(to) = routed.to else {
        return Err(Error::unsupported(format!(
            "{what} from a write to a reference table"
        )));
    };
    let tag = StatementTag("SELECT");
    if ddl::is_temporary(relation) {
        let to = match to {
            Route::Any => Route::Shard(ddl::temporary_shard(context)),
            other => other,
        };
        let mut effects = routed.findings.effects;
        effects.creates_temporary.push(name);
        return Ok(Plan::Single(Single {
            pins: routed.findings.pins | Pins::TEMPORARY,
            effects,
            tag,
            parameters: u16::try_from(routed.findings.parameters.len()).unwrap_or(u16::MAX),
            ..single(to, "SELECT")
        }));
    }
    let default = context.catalog.default_shard();
    if !matches!(to, Route::Any) && to != Route::Shard(default) {
        return Err(Error::unsupported(format!(
            "{what} from rows that are not on the default shard"
        ))
        .with_detail(format!(
            "The new table {name} would be on the default shard."
        ))
        .with_hint("Create the table, then INSERT … SELECT; or make it a temporary table."));
    }
    let named = into.col_names().iter().filter_map(Node::as_str);
    let mut columns: Vec<&str> = named.collect();
    columns.extend(routed.columns.iter().map(String::as_str));
    if !materialized_view
        && let Some(auto) = context
            .catalog
            .auto_shard()
            .iter()
            .find(|auto| columns.contains(&auto.column.as_str()))
    {
        return Err(Error::unsupported(format!(
            "{what} of a table that is sharded by its column {}",
            auto.column
        ))
        .with_hint("Create the table, then INSERT … SELECT."));
    }
    let table = Name {
        schema: relation
            .schemaname()
            .map_or_else(|| creation_schema(context), str::to_owned),
        name,
    };
    let change = if materialized_view {
        Change::View { view: table }
    } else {
        Change::TableCreated {
            table,
            if_not_exists: false,
            sharding: NewTable::Unsharded { shard: default },
        }
    };
    Ok(Plan::Everywhere(Everywhere {
        shards: Where::Shards(vec![default]),
        access: Access::Write,
        parameters: u16::try_from(routed.findings.parameters.len()).unwrap_or(u16::MAX),
        tag,
        returns_rows: false,
        kind: EverywhereKind::Ddl(DdlEffect {
            changes: vec![change],
        }),
        concurrently: false,
        no_block: false,
    }))
}

/// Code that may do anything goes where it is told to, or to the default shard if that is all there is.
fn opaque_code(tag: &'static str, context: &Context<'_>) -> Result<Plan, Error> {
    let default = context.catalog.default_shard();
    let shard = match context.manual {
        Some(shard) => shard,
        None if all_on(context, default) => default,
        None => {
            return Err(Error::unsupported(format!(
                "{tag}: the router cannot see which tables it reads or writes"
            ))
            .with_hint("SET pgweave.shard to say where it runs."));
        }
    };
    Ok(Plan::Single(Single {
        pins: Pins::UNTRACKED,
        ..single(Route::Shard(shard), tag)
    }))
}

/// Every table that the catalog knows is on this shard and nowhere else.
pub(crate) fn all_on(context: &Context<'_>, shard: catalog::ShardId) -> bool {
    context
        .catalog
        .tables()
        .iter()
        .all(|table| matches!(table.kind, TableKind::Unsharded { shard: on } if on == shard))
}

fn called(
    call: &nodes::CallStmt,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let Some(function) = call.funccall() else {
        return Err(Error::internal("CALL without a procedure"));
    };
    let mut binder = crate::bind::Binder::new(
        *context,
        Source {
            literals: None,
            ..source
        },
    );
    let namespace = crate::scope::Namespace::default();
    let scope = crate::scope::Scope {
        namespace: &namespace,
        parent: None,
        ctes: None,
    };
    let mut subqueries = Vec::new();
    binder.expression(Node::FuncCall(function), &scope, &mut subqueries)?;
    let findings = binder.bound.findings;
    let default = context.catalog.default_shard();
    let shard = match (context.manual, &findings.refusal, findings.homes.as_slice()) {
        (Some(shard), ..) => shard,
        (None, Some(_), _) if all_on(context, default) => default,
        (None, Some(error), _) => return Err(error.clone()),
        (None, None, [(shard, _)]) if subqueries.is_empty() => *shard,
        (None, None, []) if subqueries.is_empty() => default,
        (None, None, _) => {
            return Err(Error::unsupported("CALL that reaches for several shards")
                .with_hint("SET pgweave.shard to say where it runs."));
        }
    };
    Ok(Plan::Single(Single {
        pins: findings.pins | Pins::UNTRACKED,
        returns_rows: true,
        parameters: u16::try_from(findings.parameters.len()).unwrap_or(u16::MAX),
        ..single(Route::Shard(shard), "CALL")
    }))
}
