//! To be filled.
use std::sync::Arc;
use catalog::Catalog;
use planner::AdminArg;
use crate::router::Router;
use crate::session::report::Report;
pub struct Caller { pub user: String, pub search_path: Arc<[String]> }
pub async fn call(_name: &str, _arguments: &[(Option<String>, AdminArg)], _caller: &Caller, _router: &Arc<Router>, _catalog: &Arc<Catalog>) -> Result<crate::show::Table, Report> { Err(Report::error("0A000", "not merged yet")) }
pub fn columns(_name: &str) -> Option<Vec<String>> { None }
