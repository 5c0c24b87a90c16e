//! Statements about the session: transactions, settings, prepared statements, cursors, notifications.
//!
//! Entry point: [`statement`].

use crate::build::{self};
use crate::operand::Source;
use crate::operator;
use crate::parse::{
    ConstValue, DiscardMode, Node, NodeList, TransactionStmtKind, VariableSetKind, nodes,
};
use crate::piece::{Piece, piece};
use crate::{
    Context, Discard, Error, Isolation, Plan, SessionStatement, SetScope, SetValue,
    TransactionModes,
};

const CURSOR_BINARY: i32 = 1;

const CURSOR_SCROLL: i32 = 2;

const CURSOR_NO_SCROLL: i32 = 4;

const CURSOR_HOLD: i32 = 32;

/// Plans a statement about the session; `None` for any other. `span`: its bytes in the source.
pub(crate) fn statement(
    node: Node<'_>,
    span: (usize, usize),
    source: Source<'_>,
    context: &Context<'_>,
) -> Option<Result<SessionStatement, Error>> {
    let own = source.sql.get(span.0..span.1).unwrap_or(source.sql);
    let session = Ok;
    Some(match node {
        Node::TransactionStmt(statement) => transaction(statement),
        Node::VariableSetStmt(set) => variable_set(set, source),
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
        Node::PrepareStmt(prepare) => prepared(prepare, own, source, context),
        Node::ExecuteStmt(execute) => session(SessionStatement::Execute {
            name: execute.name().unwrap_or_default().to_owned(),
            arguments: match argument_texts(own, execute.params().len()) {
                Ok(arguments) => arguments,
                Err(error) => return Some(Err(error)),
            },
        }),
        Node::DeallocateStmt(deallocate) => session(SessionStatement::Deallocate(
            deallocate.name().map(str::to_owned),
        )),
        Node::DeclareCursorStmt(declare) => declared(declare, span, source, context),
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
        _ => return None,
    })
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
pub(crate) fn parenthesized(
    text: &[u8],
    at: usize,
) -> Option<(Vec<std::ops::Range<usize>>, usize)> {
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
