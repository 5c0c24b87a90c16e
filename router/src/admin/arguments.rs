//! The arguments of an operator's function, by position and by name.
//!
//! Entry point: [`Arguments::bind`].

use planner::AdminArg;

use crate::ddl::error::{Answer, Error};

/// Arguments under their parameters' names.
pub struct Arguments<'a> {
    function: &'a str,
    values: Vec<(&'static str, &'a AdminArg)>,
}

impl<'a> Arguments<'a> {
    /// Gives each argument its parameter. NULL counts as not given.
    pub fn bind(
        function: &'a str,
        parameters: &'static [&'static str],
        given: &'a [(Option<String>, AdminArg)],
    ) -> Result<Arguments<'a>, Error> {
        let mut values: Vec<(&'static str, &AdminArg)> = Vec::new();
        for (position, (name, value)) in given.iter().enumerate() {
            let parameter = match name {
                Some(name) => parameters.iter().find(|parameter| *parameter == name),
                None => parameters.get(position),
            };
            let parameter = parameter.ok_or_else(|| signature(function, parameters))?;
            if values.iter().any(|(known, _)| known == parameter) {
                return Err(Answer::new(format!(
                    "argument {parameter} of pgweave.{function} is given twice"
                ))
                .invalid_argument());
            }
            values.push((parameter, value));
        }
        values.retain(|(_, value)| !matches!(value, AdminArg::Null));
        Ok(Arguments { function, values })
    }

    fn get(&self, name: &str) -> Option<&'a AdminArg> {
        self.values
            .iter()
            .find(|(parameter, _)| *parameter == name)
            .map(|(_, value)| *value)
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn text(&self, name: &str) -> Result<Option<String>, Error> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => scalar(value)
                .map(Some)
                .ok_or_else(|| self.wrong(name, "a text")),
        }
    }

    pub fn required(&self, name: &str) -> Result<String, Error> {
        self.text(name)?.ok_or_else(|| {
            Answer::new(format!(
                "pgweave.{} needs the argument {name}",
                self.function
            ))
            .invalid_argument()
        })
    }

    pub fn number(&self, name: &str) -> Result<Option<u32>, Error> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|_| self.wrong(name, "a whole number"))
    }

    /// A list of names: an array, or one text with commas.
    pub fn names(&self, name: &str) -> Result<Option<Vec<String>>, Error> {
        match self.get(name) {
            None => Ok(None),
            Some(AdminArg::Array(items)) => {
                let names: Option<Vec<String>> = items.iter().map(scalar).collect();
                names
                    .map(Some)
                    .ok_or_else(|| self.wrong(name, "an array of texts"))
            }
            Some(value) => {
                let text =
                    scalar(value).ok_or_else(|| self.wrong(name, "a text or an array of texts"))?;
                Ok(Some(
                    text.split(',')
                        .map(|item| item.trim().to_owned())
                        .filter(|item| !item.is_empty())
                        .collect(),
                ))
            }
        }
    }

    /// A list of keys: each a value, an array with one value per key column, or NULL.
    pub fn keys(&self, name: &str) -> Result<Option<Vec<Option<Vec<String>>>>, Error> {
        let items = match self.get(name) {
            None => return Ok(None),
            Some(AdminArg::Array(items)) => items,
            Some(_) => return Err(self.wrong(name, "an array")),
        };
        let key = |item: &AdminArg| match item {
            AdminArg::Null => Some(None),
            AdminArg::Array(values) => values
                .iter()
                .map(scalar)
                .collect::<Option<Vec<_>>>()
                .map(Some),
            value => scalar(value).map(|value| Some(vec![value])),
        };
        let keys: Option<Vec<Option<Vec<String>>>> = items.iter().map(key).collect();
        keys.map(Some)
            .ok_or_else(|| self.wrong(name, "an array of key values"))
    }

    fn wrong(&self, name: &str, expected: &str) -> Error {
        Answer::new(format!(
            "argument {name} of pgweave.{} must be {expected}",
            self.function
        ))
        .invalid_argument()
    }
}

fn scalar(value: &AdminArg) -> Option<String> {
    match value {
        AdminArg::Text(text) | AdminArg::Number(text) => Some(text.clone()),
        AdminArg::Boolean(truth) => Some(truth.to_string()),
        AdminArg::Null | AdminArg::Array(_) | AdminArg::Parameter(_) => None,
    }
}

fn signature(function: &str, parameters: &[&str]) -> Error {
    Answer::new(format!("pgweave.{function} does not take these arguments"))
        .hint(format!("Its parameters are: {}.", parameters.join(", ")))
        .undefined_function()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> AdminArg {
        AdminArg::Text(value.into())
    }

    #[test]
    fn by_position_and_name() {
        let given = [
            (None, text("t")),
            (
                Some("shards".to_owned()),
                AdminArg::Array(vec![text("s1"), text("s2")]),
            ),
            (Some("key".to_owned()), text("a, b")),
            (
                Some("bounds".to_owned()),
                AdminArg::Array(vec![AdminArg::Number("1".into()), AdminArg::Null]),
            ),
            (Some("layout".to_owned()), AdminArg::Null),
        ];
        let arguments =
            Arguments::bind("f", &["table", "key", "shards", "bounds", "layout"], &given).unwrap();
        assert_eq!(arguments.required("table").unwrap(), "t");
        assert_eq!(arguments.names("key").unwrap().unwrap(), ["a", "b"]);
        assert_eq!(arguments.names("shards").unwrap().unwrap(), ["s1", "s2"]);
        assert_eq!(
            arguments.keys("bounds").unwrap().unwrap(),
            [Some(vec!["1".to_owned()]), None]
        );
        assert!(!arguments.has("layout"));
        assert_eq!(
            arguments.required("layout").unwrap_err().sqlstate(),
            "22023"
        );
    }

    #[test]
    fn what_does_not_fit() {
        let unknown = [(Some("nonsense".to_owned()), text("x"))];
        assert_eq!(
            Arguments::bind("f", &["table"], &unknown)
                .err()
                .unwrap()
                .sqlstate(),
            "42883"
        );
        let many = [(None, text("x")), (None, text("y"))];
        assert_eq!(
            Arguments::bind("f", &["table"], &many)
                .err()
                .unwrap()
                .sqlstate(),
            "42883"
        );
        let twice = [(None, text("x")), (Some("table".to_owned()), text("y"))];
        assert_eq!(
            Arguments::bind("f", &["table"], &twice)
                .err()
                .unwrap()
                .sqlstate(),
            "22023"
        );
        let number = [(None, text("x"))];
        assert_eq!(
            Arguments::bind("f", &["n"], &number)
                .unwrap()
                .number("n")
                .unwrap_err()
                .sqlstate(),
            "22023"
        );
    }
}
