//! Planning without a session: the catalog as it is, and the plan that a session would run.

use std::sync::Arc;

use clap::Args;
use planner::{Context, Error, Plan};

use super::{explain, init};
use crate::config::Config;
use crate::serve::control_connector;
use crate::store::{self, Store};

/// Whose session is imagined.
#[derive(Debug, Clone, Args)]
pub struct SessionOptions {
    /// The user of the session; decides what "$user" in the search path is
    #[arg(long, value_name = "NAME", default_value = "postgres")]
    pub user: String,
    /// Schemas in which tables without one are looked for
    #[arg(
        long,
        value_name = "SCHEMA",
        value_delimiter = ',',
        default_value = "public"
    )]
    pub search_path: Vec<String>,
}

impl SessionOptions {
    pub fn context<'a>(&'a self, catalog: &'a catalog::Catalog) -> Context<'a> {
        Context {
            catalog,
            search_path: &self.search_path,
            temporary: &[],
            user: &self.user,
            manual: None,
            standard_conforming_strings: true,
            statistics: &planner::NoStatistics,
        }
    }
}

/// The catalog's home, with the catalog read.
pub async fn open(config: &Config) -> miette::Result<Arc<Store>> {
    let connector = control_connector(config).map_err(explain::serve)?;
    let settings = store::Settings::new(init::home(&config.catalog), connector);
    Store::connect(settings).await.map_err(explain::store)
}

/// The plan of one statement with the constants in it. `None`: there is no statement.
pub fn plan(sql: &str, context: &Context<'_>) -> Result<Option<Arc<Plan>>, Error> {
    let Some(planned) = planner::plan_text(sql, context)?.into_iter().next() else {
        return Ok(None);
    };
    let Plan::Single(single) = &*planned.plan else {
        return Ok(Some(planned.plan));
    };
    match planner::resolve(&single.route, context.catalog, &()) {
        Err(refusal) if single.parameters == 0 && refusal.sqlstate() == "0A000" => {
            let shards = planner::resolve_all(&single.route, context.catalog, &()).ok();
            match planner::plan_several(sql, 0, shards, context) {
                Ok(several) => Ok(Some(several.plan)),
                Err(_) => Err(refusal),
            }
        }
        // Without its parameters nothing more can be said of it.
        Ok(_) | Err(_) => Ok(Some(planned.plan)),
    }
}
