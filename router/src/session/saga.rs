//! `pgweave.saga_start`, `saga_status` and `saga_list`: what clients say and see of sagas. [`crate::drive::saga`] carries them on.

use std::sync::Arc;

use catalog::Catalog;
use planner::{AdminArg, AdminCall};
use serde_json::Value;
use txn::sql::{quote_identifier, quote_literal};

use super::outbox::nullable;
use super::report::Report;
use super::show::shard_of_key;
use super::{Session, Step};
use crate::admin::{Arguments, Output};
use crate::drive::saga;

/// Attempts at a step until a saga turns back, unless it says otherwise.
const MOST_TRIES: u32 = 10;
/// Sagas that are listed.
const LISTED: u32 = 1_000;

const STATUS: [&str; 9] = [
    "id",
    "name",
    "state",
    "position",
    "steps",
    "tries",
    "error",
    "started_at",
    "ended_at",
];

/// The columns of a function's result; `None` if it is none of these.
pub fn columns(function: &str) -> Option<Vec<String>> {
    let columns: &[&str] = match function {
        "saga_start" => &["id"],
        "saga_status" | "saga_list" => &STATUS,
        _ => return None,
    };
    Some(columns.iter().map(|name| (*name).to_owned()).collect())
}

impl Session {
    /// Runs one of the functions, on a connection of the router's own.
    pub(super) async fn saga(
        &mut self,
        call: &AdminCall,
        given: &[(Option<String>, AdminArg)],
        columns: Vec<String>,
    ) -> Step<Output> {
        let name = call.name.as_str();
        let bind = |parameters| Arguments::bind(name, parameters, given);
        let user = quote_literal(self.identity.user());
        let sql = match name {
            "saga_start" => {
                let arguments = bind(&["name", "steps", "idempotency_key", "most_tries"])?;
                self.start_text(&arguments)?
            }
            "saga_status" => {
                let id = bind(&["id"])?.required("id")?;
                format!("{} WHERE id::text = {}", status_text(), quote_literal(&id))
            }
            _ => {
                bind(&[])?;
                format!("{} ORDER BY started_at DESC LIMIT {LISTED}", status_text())
            }
        };
        let home = self
            .router
            .store
            .home()
            .await
            .map_err(crate::ddl::Error::from)?;
        // Steps run on connections of the router's, which a statement could use beyond its own role's rights.
        let permitted = format!(
            "SELECT pg_catalog.pg_has_role(r.oid, n.nspowner, 'USAGE') FROM pg_catalog.pg_roles AS r, \
             pg_catalog.pg_namespace AS n WHERE r.rolname = {user} AND n.nspname = 'pgweave'"
        );
        let permitted = home
            .rows(&permitted)
            .await
            .map_err(crate::ddl::Error::from)?;
        if permitted.first().and_then(|row| row.first()?.as_deref()) != Some("t") {
            return Err(Report::error(
                "42501",
                format!("role {} may not start or see sagas", self.identity.user()),
            )
            .hint("It takes a superuser, or a member of the role that owns schema pgweave.")
            .into());
        }
        let mut rows = home.rows(&sql).await.map_err(crate::ddl::Error::from)?;
        self.router.store.give_back(home);
        if name == "saga_start" {
            self.router.saga_wanted.notify_waiters();
            let same = rows.first().and_then(|row| row.get(1)?.as_deref()) == Some("t");
            if !same {
                return Err(Report::error(
                    "22023",
                    "another saga was started with this idempotency key",
                )
                .hint("A key stands for one saga with the same name and steps, for good.")
                .into());
            }
            rows.iter_mut().for_each(|row| row.truncate(1));
        }
        Ok(Output {
            columns,
            rows,
            notices: Vec::new(),
        })
    }

    /// Inserts the saga, or finds the one with the same key.
    fn start_text(&self, arguments: &Arguments<'_>) -> Step<String> {
        let catalog = self.catalog();
        let steps = read_steps(&arguments.required("steps")?, &catalog)?;
        let steps = serde_json::to_string(&steps)
            .map_err(|error| Report::error("XX000", format!("steps cannot be stored: {error}")))?;
        let (name, steps) = (
            quote_literal(&arguments.required("name")?),
            quote_literal(&steps),
        );
        let most_tries = arguments.number("most_tries")?.unwrap_or(MOST_TRIES).max(1);
        let search_path: Vec<String> = self
            .derived
            .search_path
            .iter()
            .map(|schema| quote_identifier(schema))
            .collect();
        Ok(format!(
            "INSERT INTO pgweave.saga AS known (name, idempotency_key, started_by, search_path, steps, most_tries) \
             VALUES ({name}, {}, {}, {}, {steps}::jsonb, {most_tries}) \
             ON CONFLICT (idempotency_key) DO UPDATE SET name = known.name \
             RETURNING id, name = {name} AND steps = {steps}::jsonb",
            nullable(arguments.text("idempotency_key")?),
            quote_literal(self.identity.user()),
            quote_literal(&search_path.join(", ")),
        ))
    }
}

fn status_text() -> String {
    "SELECT id, name, state, position, pg_catalog.jsonb_array_length(steps), tries, error, started_at, ended_at \
     FROM pgweave.saga"
        .to_owned()
}

/// The steps as a client writes them.
fn read_steps(text: &str, catalog: &Arc<Catalog>) -> Step<Vec<saga::Step>> {
    let bad = |number: usize, what: &str| {
        Report::error("22023", format!("step {number} of the saga: {what}")).hint(
            "A step is {\"shard\": name} or {\"key\": \"table=value\"} with \"sql\", and, if wanted, \"parameters\", \"compensation\", \"compensation_parameters\".",
        )
    };
    let value: Value = serde_json::from_str(text)
        .map_err(|error| Report::error("22P02", format!("the steps are not JSON: {error}")))?;
    let Some(items) = value.as_array().filter(|items| !items.is_empty()) else {
        return Err(
            Report::error("22023", "the steps of a saga are an array of at least one").into(),
        );
    };
    let mut steps = Vec::with_capacity(items.len());
    for (number, item) in (1..).zip(items) {
        let object = item
            .as_object()
            .ok_or_else(|| bad(number, "is no object"))?;
        const KNOWN: [&str; 6] = [
            "shard",
            "key",
            "sql",
            "parameters",
            "compensation",
            "compensation_parameters",
        ];
        if let Some(name) = object.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            return Err(bad(number, &format!("\"{name}\" means nothing")).into());
        }
        let text = |name: &str| match object.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(bad(number, &format!("\"{name}\" must be a text"))),
        };
        let statement = |name: &str| -> Step<Option<String>> {
            let Some(sql) = text(name)? else {
                return Ok(None);
            };
            let statements = planner::statements(&sql)?;
            match &statements[..] {
                [only] => Ok(sql.get(only.clone()).map(str::to_owned)),
                _ => Err(bad(number, &format!("\"{name}\" must be one statement")).into()),
            }
        };
        let shard = match (text("shard")?, text("key")?) {
            (Some(name), None) => {
                let shard = catalog.shard_by_name(&name);
                shard
                    .map(|shard| shard.id)
                    .ok_or_else(|| bad(number, &format!("there is no shard named \"{name}\"")))?
            }
            (None, Some(key)) => shard_of_key(&key, catalog)?,
            _ => return Err(bad(number, "either \"shard\" or \"key\" is needed").into()),
        };
        let parameters = |name: &str| match object.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(values)) => Ok(values.iter().map(parameter).collect()),
            Some(_) => Err(bad(number, &format!("\"{name}\" must be an array"))),
        };
        steps.push(saga::Step {
            shard: shard.0,
            sql: statement("sql")?.ok_or_else(|| bad(number, "\"sql\" is missing"))?,
            parameters: parameters("parameters")?,
            compensation: statement("compensation")?,
            compensation_parameters: parameters("compensation_parameters")?,
        });
    }
    Ok(steps)
}

/// As PostgreSQL reads a constant of unknown type.
fn parameter(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
