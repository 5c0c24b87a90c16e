//! A constant side of a comparison: a literal, a parameter, or a cast of one.
//!
//! Entry points: [`Operand`] and [`sources`], which turns a set of operands into key sources of one key column.

use catalog::KeyType;

use crate::convert::{Family, family, key_type_named, number_key, text_key};
use crate::parse::{A_Expr_Kind, ConstValue, Node, NodeList, nodes};
use crate::resolve::array_keys;
use crate::scan::LiteralMap;
use crate::{Error, KeyRole, KeySource};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operand {
    pub value: OperandValue,
    /// The explicit cast; of the elements when `array`.
    pub cast: Option<KeyType>,
    pub array: bool,
    /// What a column with this type modifier makes of the value, which has been assigned to it.
    pub stored: Option<i32>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OperandValue {
    Null,
    /// As PostgreSQL's scanner gives it, with its sign. `plain`: an integer of at most four bytes.
    Number {
        text: Box<str>,
        plain: bool,
    },
    Text(Box<str>),
    Boolean(bool),
    Parameter(u16),
    Literal {
        index: u16,
        negative: bool,
        number: bool,
        plain: bool,
    },
}

impl Operand {
    /// Whether a comparison with a column of this family is one of that family's own equality.
    pub fn fits(&self, column: Family) -> bool {
        let number = matches!(
            self.value,
            OperandValue::Number { .. } | OperandValue::Literal { number: true, .. }
        );
        match self.cast {
            Some(cast) if family(cast) != column => false,
            _ if self.value == OperandValue::Null => true,
            _ if number => column == Family::Integer && !self.array,
            _ if matches!(self.value, OperandValue::Boolean(_)) => {
                column == Family::Boolean && !self.array
            }
            _ => true,
        }
    }

    pub fn parameter(&self) -> Option<u16> {
        match self.value {
            OperandValue::Parameter(index) => Some(index),
            _ => None,
        }
    }

    /// In a list, a number that is not a plain integer makes the others numeric, with numeric's input syntax.
    fn taints(&self) -> bool {
        self.cast.is_none()
            && matches!(
                self.value,
                OperandValue::Number { plain: false, .. }
                    | OperandValue::Literal {
                        number: true,
                        plain: false,
                        ..
                    }
            )
    }

    pub fn untyped(&self) -> bool {
        self.cast.is_none()
            && matches!(
                self.value,
                OperandValue::Text(_)
                    | OperandValue::Parameter(_)
                    | OperandValue::Literal { number: false, .. }
            )
    }
}

/// Where literals stand, when they are to be lifted, and the text that was parsed.
#[derive(Clone, Copy)]
pub(crate) struct Source<'s> {
    pub sql: &'s str,
    pub literals: Option<&'s LiteralMap>,
}

/// The operand that an expression is, if it is one.
pub(crate) fn operand(node: Node<'_>, source: Source<'_>) -> Option<Operand> {
    match node {
        Node::A_Const(constant) => Some(Operand {
            value: constant_value(constant, source)?,
            cast: None,
            array: false,
            stored: None,
        }),
        Node::ParamRef(parameter) => Some(Operand {
            value: OperandValue::Parameter(parameter_index(parameter)?),
            cast: None,
            array: false,
            stored: None,
        }),
        Node::TypeCast(cast) => {
            let (key_type, array) = cast_type(cast.type_name()?)?;
            let value = match cast.arg() {
                Node::A_Const(constant) => constant_value(constant, source)?,
                Node::ParamRef(parameter) => OperandValue::Parameter(parameter_index(parameter)?),
                _ => return None,
            };
            let number = matches!(
                value,
                OperandValue::Number { .. } | OperandValue::Literal { number: true, .. }
            );
            // 4.6::int is 5, and 42::text or true::int read otherwise than they look.
            if number && family(key_type) != Family::Integer
                || matches!(value, OperandValue::Number { plain: false, .. })
                || matches!(
                    value,
                    OperandValue::Literal {
                        number: true,
                        plain: false,
                        ..
                    }
                )
                || matches!(value, OperandValue::Boolean(_)) && family(key_type) != Family::Boolean
            {
                return None;
            }
            Some(Operand {
                value,
                cast: Some(key_type),
                array,
                stored: None,
            })
        }
        _ => None,
    }
}

/// The set of values of `IN (…)`, or `None` when one of them is more than an operand.
pub(crate) fn operand_list(list: &NodeList, source: Source<'_>) -> Option<Vec<Operand>> {
    let operands: Vec<Operand> = list
        .iter()
        .map(|node| operand(node, source))
        .collect::<Option<_>>()?;
    let mixed = operands.iter().any(Operand::taints) && operands.iter().any(Operand::untyped);
    let arrays = operands.iter().any(|operand| operand.array);
    (!mixed && !arrays && !casts_differ(&operands)).then_some(operands)
}

/// A cast of one element can give the others their type: `(1::int8, '3')`. Within one family that is harmless.
fn casts_differ(operands: &[Operand]) -> bool {
    let mut casts = operands
        .iter()
        .filter_map(|operand| operand.cast.map(family));
    casts
        .next()
        .is_some_and(|first| casts.any(|cast| cast != first))
}

/// The set of values of `= ANY (…)`.
pub(crate) fn any_operands(node: Node<'_>, source: Source<'_>) -> Option<Vec<Operand>> {
    match node {
        Node::A_ArrayExpr(array) => operand_list(array.elements(), source),
        Node::TypeCast(cast) if matches!(cast.arg(), Node::A_ArrayExpr(_)) => {
            let Node::A_ArrayExpr(array) = cast.arg() else {
                return None;
            };
            let (key_type, true) = cast_type(cast.type_name()?)? else {
                return None;
            };
            let mut operands = operand_list(array.elements(), source)?;
            for operand in &mut operands {
                // The array's cast is applied to each element, untyped ones are read as it.
                let family_of_cast = operand.cast.map(family);
                if operand.taints()
                    || family_of_cast.is_some_and(|own| own != family(key_type))
                    || !operand.fits(family(key_type))
                {
                    return None;
                }
                operand.cast.get_or_insert(key_type);
            }
            Some(operands)
        }
        _ => {
            let mut operand = operand(node, source)?;
            if operand.cast.is_some() && !operand.array {
                return None;
            }
            match operand.value {
                OperandValue::Null | OperandValue::Text(_) | OperandValue::Parameter(_) => {}
                OperandValue::Literal { number: false, .. } => {}
                OperandValue::Number { .. }
                | OperandValue::Boolean(_)
                | OperandValue::Literal { .. } => return None,
            }
            operand.array = true;
            Some(vec![operand])
        }
    }
}

/// Whether an expression is a comparison by PostgreSQL's own `=` operator.
pub(crate) fn is_equality(expression: &nodes::A_Expr) -> bool {
    let mut names = expression.name().iter().map(Node::as_str);
    matches!(
        (names.next(), names.next(), names.next()),
        (Some(Some("=")), None, None) | (Some(Some("pg_catalog")), Some(Some("=")), None)
    )
}

pub(crate) fn is_kind(expression: &nodes::A_Expr, kind: A_Expr_Kind::Type) -> bool {
    expression.kind == kind
}

fn parameter_index(parameter: &nodes::ParamRef) -> Option<u16> {
    u16::try_from(parameter.number).ok()?.checked_sub(1)
}

fn constant_value(constant: &nodes::A_Const, source: Source<'_>) -> Option<OperandValue> {
    let value = match constant.val() {
        None => return Some(OperandValue::Null),
        Some(value) => value,
    };
    let lifted = source
        .literals
        .and_then(|literals| literals.at(source.sql, constant.location));
    match value {
        ConstValue::Integer(_) | ConstValue::Float(_) => {
            let plain = matches!(value, ConstValue::Integer(_));
            if let Some((index, negative)) = lifted {
                return Some(OperandValue::Literal {
                    index,
                    negative,
                    number: true,
                    plain,
                });
            }
            // Servers before 16 read 0x1F and 1_000 otherwise.
            if !written_in_decimal(source.sql, constant.location) {
                return None;
            }
            Some(OperandValue::Number {
                text: value.to_string().into_boxed_str(),
                plain,
            })
        }
        ConstValue::String(text) => Some(match lifted {
            Some((index, _)) => OperandValue::Literal {
                index,
                negative: false,
                number: false,
                plain: false,
            },
            None => OperandValue::Text(text.into()),
        }),
        ConstValue::Boolean(value) => Some(OperandValue::Boolean(value)),
        _ => None,
    }
}

fn written_in_decimal(sql: &str, location: i32) -> bool {
    let Some(rest) = usize::try_from(location)
        .ok()
        .and_then(|at| sql.as_bytes().get(at..))
    else {
        return false;
    };
    let Some(start) = rest
        .iter()
        .position(|byte| byte.is_ascii_digit() || *byte == b'.')
    else {
        return false;
    };
    rest[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(**byte, b'_' | b'.'))
        .all(|byte| byte.is_ascii_digit() || matches!(*byte, b'.' | b'e' | b'E'))
}

/// The key type that a cast names, and whether it is an array of it. Type modifiers change values: not taken.
fn cast_type(name: &nodes::TypeName) -> Option<(KeyType, bool)> {
    if name.setof || name.pct_type || !name.typmods().is_empty() {
        return None;
    }
    let mut names = name.names().iter().map(|name| name.sval());
    let key_type = match (names.next(), names.next(), names.next()) {
        (Some(Some(name)), None, None) | (Some(Some("pg_catalog")), Some(Some(name)), None) => {
            key_type_named(name)?
        }
        _ => return None,
    };
    Some((key_type, !name.array_bounds().is_empty()))
}

/// The key sources of one set for one key column; an empty list when no value of the set can equal a key.
/// `shared` tells whether a parameter's type may be inferred from elsewhere.
pub(crate) fn sources(
    set: &[Operand],
    key_type: KeyType,
    role: KeyRole,
    shared: &dyn Fn(u16) -> bool,
) -> Result<Vec<KeySource>, Error> {
    let mut sources = Vec::with_capacity(set.len());
    for operand in set {
        let Operand { cast, array, .. } = *operand;
        let role = operand
            .stored
            .map_or(role, |type_modifier| KeyRole::Stored { type_modifier });
        match &operand.value {
            OperandValue::Null => {}
            OperandValue::Number { text, .. } => {
                sources.extend(number_key(text, key_type, role)?.map(KeySource::Constant));
            }
            OperandValue::Text(text) if array => {
                sources.extend(
                    array_keys(text, cast, key_type, role)?
                        .into_iter()
                        .map(KeySource::Constant),
                );
            }
            OperandValue::Text(text) => {
                sources.extend(text_key(text, cast, key_type, role)?.map(KeySource::Constant))
            }
            OperandValue::Boolean(value) => {
                sources.push(KeySource::Constant(catalog::KeyValue::Bool(*value)))
            }
            OperandValue::Parameter(index) => {
                sources.push(KeySource::Parameter {
                    index: *index,
                    cast,
                    array,
                    shared: shared(*index),
                    role,
                });
            }
            OperandValue::Literal {
                index, negative, ..
            } => {
                sources.push(KeySource::Literal {
                    index: *index,
                    negative: *negative,
                    cast,
                    array,
                    role,
                });
            }
        }
    }
    Ok(sources)
}
