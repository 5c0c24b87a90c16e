//! The elements of arrays, as text and as the wire has them.
//!
//! Entry points: [`array_elements`], [`binary_array`].

/// The elements of a one-dimensional array text such as `{1,"b c",NULL}`; `None` for anything less plain.
pub(crate) fn array_elements(text: &str) -> Option<Vec<Option<String>>> {
    let body = text
        .trim_matches([' ', '\t', '\n', '\r'])
        .strip_prefix('{')?
        .strip_suffix('}')?;
    let mut elements = Vec::new();
    if body.trim().is_empty() {
        return Some(elements);
    }
    let mut characters = body.chars().peekable();
    loop {
        while characters
            .next_if(|c| matches!(c, ' ' | '\t' | '\n' | '\r'))
            .is_some()
        {}
        let mut element = String::new();
        if characters.next_if_eq(&'"').is_some() {
            loop {
                match characters.next()? {
                    '"' => break,
                    '\\' => element.push(characters.next()?),
                    other => element.push(other),
                }
            }
            while characters
                .next_if(|c| matches!(c, ' ' | '\t' | '\n' | '\r'))
                .is_some()
            {}
            elements.push(Some(element));
        } else {
            while let Some(&c) = characters.peek() {
                match c {
                    ',' => break,
                    '{' | '}' | '"' | '\\' => return None,
                    _ => element.push(c),
                }
                characters.next();
            }
            let trimmed = element.trim_end_matches([' ', '\t', '\n', '\r']);
            if trimmed.is_empty() {
                return None;
            }
            elements.push((!trimmed.eq_ignore_ascii_case("null")).then(|| trimmed.to_owned()));
        }
        match characters.next() {
            None => return Some(elements),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

/// The wire form of an array (`array_send`): dimensions, a flag, the element type, per dimension length and lower bound, then
/// length-prefixed elements.
pub(crate) fn binary_array(bytes: &[u8]) -> Option<(u32, Vec<Option<&[u8]>>)> {
    fn word(rest: &mut &[u8]) -> Option<i32> {
        let (head, tail) = rest.split_first_chunk::<4>()?;
        *rest = tail;
        Some(i32::from_be_bytes(*head))
    }
    let mut rest = bytes;
    let dimensions = word(&mut rest)?;
    let _flags = word(&mut rest)?;
    let element_oid = word(&mut rest)? as u32;
    if !(0..=6).contains(&dimensions) {
        return None;
    }
    for _ in 0..dimensions {
        let _length = word(&mut rest)?;
        let _lower_bound = word(&mut rest)?;
    }
    let mut elements = Vec::new();
    while !rest.is_empty() {
        match word(&mut rest)? {
            -1 => elements.push(None),
            length => {
                let (element, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                rest = tail;
                elements.push(Some(element));
            }
        }
    }
    Some((element_oid, elements))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(array_elements("{}"), Some(vec![]));
        assert_eq!(
            array_elements("{1, 2,NULL}"),
            Some(vec![some("1"), some("2"), None])
        );
        assert_eq!(
            array_elements(r#"{"a b","c\"d","null"}"#),
            Some(vec![some("a b"), some("c\"d"), some("null")])
        );
        assert_eq!(array_elements("{{1},{2}}"), None);
        assert_eq!(array_elements("[0:1]={1,2}"), None);
        assert_eq!(array_elements("{1,}"), None);
    }
}
