//! Rows in binary as one array per column, so that a server can be given them as parameters instead of a table.
//!
//! Entry points: [`Arrays::new`], [`Arrays::add`], [`Arrays::finish`]. The elements of a binary array are written as the cells of a row are:
//! `array_recv` of `src/backend/utils/adt/arrayfuncs.c`.

use bytes::BufMut;

use super::Malformed;
use super::row::Row;

/// Dimensions, whether there are NULLs, the elements' type.
const HEADER_BYTES: usize = 12;

/// Built-in types and the types of arrays of them (`pg_type.typarray`).
const ARRAY_TYPES: [(u32, u32); 29] = [
    (16, 1000),
    (17, 1001),
    (18, 1002),
    (19, 1003),
    (20, 1016),
    (21, 1005),
    (23, 1007),
    (25, 1009),
    (26, 1028),
    (114, 199),
    (650, 651),
    (700, 1021),
    (701, 1022),
    (790, 791),
    (829, 1040),
    (869, 1041),
    (1042, 1014),
    (1043, 1015),
    (1082, 1182),
    (1083, 1183),
    (1114, 1115),
    (1184, 1185),
    (1186, 1187),
    (1266, 1270),
    (1560, 1561),
    (1562, 1563),
    (1700, 1231),
    (2950, 2951),
    (3802, 3807),
];

/// The type of arrays of this type, if it is one of PostgreSQL's own that is no array itself.
pub fn array_type(type_oid: u32) -> Option<u32> {
    let at = ARRAY_TYPES
        .binary_search_by_key(&type_oid, |(element, _)| *element)
        .ok()?;
    Some(ARRAY_TYPES[at].1)
}

/// Arrays that grow by a row at a time.
#[derive(Debug)]
pub struct Arrays {
    columns: Vec<Column>,
    rows: u32,
    bytes: usize,
}

#[derive(Debug)]
struct Column {
    type_oid: u32,
    has_null: bool,
    elements: Vec<u8>,
}

impl Arrays {
    /// For rows of these types; `None`: there are no arrays of one of them.
    pub fn new(types: &[u32]) -> Option<Self> {
        let column = |type_oid: &u32| {
            array_type(*type_oid)?;
            Some(Column {
                type_oid: *type_oid,
                has_null: false,
                elements: Vec::new(),
            })
        };
        Some(Self {
            columns: types.iter().map(column).collect::<Option<_>>()?,
            rows: 0,
            bytes: 0,
        })
    }

    /// Adds a row, all of whose cells are in binary.
    pub fn add(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let row = Row::new(body)?;
        if usize::from(row.columns()) != self.columns.len() {
            return Err(Malformed);
        }
        for (index, column) in (0u16..).zip(&mut self.columns) {
            match row.cell(index)? {
                None => {
                    column.has_null = true;
                    column.elements.put_i32(-1);
                }
                Some(cell) => {
                    let length = i32::try_from(cell.len()).map_err(|_| Malformed)?;
                    column.elements.put_i32(length);
                    column.elements.put_slice(cell);
                }
            }
        }
        self.rows += 1;
        self.bytes += body.len();
        Ok(())
    }

    /// Adds a row of one value.
    pub fn add_value(&mut self, value: &[u8]) {
        if let [column] = self.columns.as_mut_slice() {
            // A cell's length has fitted into a message.
            column.elements.put_u32(value.len() as u32);
            column.elements.put_slice(value);
            self.rows += 1;
            self.bytes += value.len();
        }
    }

    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// How much has been added.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The arrays, each as the value of a parameter in binary.
    pub fn finish(self) -> Vec<Vec<u8>> {
        let rows = self.rows;
        let write = |column: Column| {
            let mut array = Vec::with_capacity(HEADER_BYTES + 8 + column.elements.len());
            array.put_i32(i32::from(rows > 0));
            array.put_i32(i32::from(column.has_null));
            array.put_u32(column.type_oid);
            if rows > 0 {
                array.put_u32(rows);
                array.put_i32(1);
                array.extend_from_slice(&column.elements);
            }
            array
        };
        self.columns.into_iter().map(write).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_sorted() {
        assert!(ARRAY_TYPES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(array_type(23), Some(1007));
        assert_eq!(array_type(1007), None);
    }

    #[test]
    fn rows_become_columns() {
        let mut arrays = Arrays::new(&[23, 25]).expect("types with arrays");
        let first = [0, 2, 0, 0, 0, 4, 0, 0, 0, 7, 0, 0, 0, 1, b'x'];
        let second = [0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        arrays.add(&first).expect("a row");
        arrays.add(&second).expect("a row");
        assert_eq!(arrays.add(&[0, 1, 0, 0, 0, 0]), Err(Malformed));
        let [numbers, texts] = arrays.finish().try_into().expect("two columns");
        let header = |has_null, type_oid| {
            [
                0, 0, 0, 1, 0, 0, 0, has_null, 0, 0, 0, type_oid, 0, 0, 0, 2, 0, 0, 0, 1,
            ]
        };
        assert_eq!(numbers[..20], header(1, 23));
        assert_eq!(
            numbers[20..],
            [0, 0, 0, 4, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff]
        );
        assert_eq!(texts[..20], header(0, 25));
        assert_eq!(texts[20..], [0, 0, 0, 1, b'x', 0, 0, 0, 0]);
    }

    #[test]
    fn no_rows_are_an_empty_array() {
        let arrays = Arrays::new(&[20]).expect("a type with arrays");
        assert_eq!(arrays.finish(), [vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20]]);
    }
}
