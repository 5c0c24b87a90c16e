//! The values of one execution, as the wire brought them.
//!
//! Entry point: the trait [`Values`]; the router implements it over a Bind message, [`crate::Literals`] over a simple query.

/// Source of parameter and literal values.
pub trait Values {
    /// Parameter `index` from 0 (`$1` is 0). `None`: no such parameter.
    fn parameter(&self, index: u16) -> Option<Value<'_>>;
    /// Source text of lifted literal `index` from 0, quotes included.
    fn literal(&self, index: u16) -> Option<&str>;
}

/// One parameter.
#[derive(Debug, Clone, Copy)]
pub struct Value<'a> {
    /// The type declared in Parse; 0 = left to the server to infer.
    pub type_oid: u32,
    pub binary: bool,
    /// `None` = NULL.
    pub bytes: Option<&'a [u8]>,
}

/// No values at all: a simple query without literals.
impl Values for () {
    fn parameter(&self, _: u16) -> Option<Value<'_>> {
        None
    }
    fn literal(&self, _: u16) -> Option<&str> {
        None
    }
}
