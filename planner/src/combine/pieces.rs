//! The finishing query as pieces: its text, and what stands for the shards' columns.

use super::OWN;
use crate::{Error, Piece};

/// Cuts a text where it names own columns that stand for aggregates, or the relation.
pub(super) fn pieces(sql: &str, combined: &[Piece]) -> Result<Vec<Piece>, Error> {
    let mut pieces = Vec::new();
    let mut rest = sql;
    let mut text = String::new();
    while let Some(at) = rest.find(OWN) {
        text.push_str(&rest[..at]);
        let name = &rest[at + OWN.len()..];
        if let Some(after) = name.strip_prefix("relation") {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
            pieces.push(Piece::Relation);
            rest = after;
        } else if let Some(number) = name.strip_prefix('c') {
            let digits = number.bytes().take_while(u8::is_ascii_digit).count();
            let piece = number[..digits]
                .parse::<usize>()
                .ok()
                .and_then(|index| combined.get(index))
                .ok_or_else(|| Error::internal("a combined column is not known"))?;
            match piece {
                Piece::Text(known) => text.push_str(known),
                piece => {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                    pieces.push(piece.clone());
                }
            }
            rest = &number[digits..];
        } else {
            text.push_str(OWN);
            rest = name;
        }
    }
    text.push_str(rest);
    pieces.push(Piece::Text(text));
    Ok(pieces)
}
