//! The beginning of a session: from an accepted socket to the first ReadyForQuery.
//!
//! A new client is told the server parameters that its session will have. They are learned from a server connection
//! once for each user and set of startup options, and remembered.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use rand::RngCore;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::client::{ClientIo, Parameters};
use super::links::Need;
use super::report::{End, Failure, Report};
use super::savepoints::Savepoints;
use super::settings::Settings;
use super::temporary::Temporary;
use super::{Session, Step};
use crate::auth;
use crate::backend::AppliedSettings;
use crate::pool::PoolIdentity;
use crate::router::Router;
use crate::wire::encode;
use crate::wire::startup::{self, Startup, StartupError};
use crate::worker::WorkerLocal;

/// What the first connection for a user and a set of options has told.
#[derive(Clone, Debug)]
pub struct Template {
    pub parameters: Parameters,
    /// The value of search_path.
    pub search_path: String,
}

/// Serves one accepted connection until it ends. `unauthenticated` is its place among those that have not proven yet who
/// they are.
pub async fn serve_client(
    stream: TcpStream,
    address: SocketAddr,
    router: Arc<Router>,
    worker: Arc<WorkerLocal>,
    unauthenticated: OwnedSemaphorePermit,
) {
    let limit = router.config.listen.startup_timeout;
    let starting = Box::pin(start(stream, address, &router, &worker, unauthenticated));
    let started = match timeout(limit, starting).await {
        Ok(started) => started,
        Err(_) => {
            tracing::debug!(%address, "the client did not finish its startup in time");
            return;
        }
    };
    if let Some(session) = started {
        // Boxed, so that a session costs what its deepest statement needs only while it runs it.
        session.run().await;
    }
}

async fn start(
    stream: TcpStream,
    address: SocketAddr,
    router: &Arc<Router>,
    worker: &Arc<WorkerLocal>,
    unauthenticated: OwnedSemaphorePermit,
) -> Option<Session> {
    let request = match startup::accept_startup(stream, &router.startup).await {
        Ok(Startup::Session(request)) => request,
        Ok(Startup::Cancel { process_id, key }) => {
            if let Some(handle) = router.sessions.find(process_id, &key) {
                handle.cancel().await;
            }
            return None;
        }
        Err(StartupError::Closed) => return None,
        Err(error) => {
            tracing::debug!(%address, %error, "a client was refused at startup");
            return None;
        }
    };
    let mut request = *request;
    let refusal = match admit(router) {
        Ok(()) => match auth::authenticate(&mut request, address.ip(), &router.auth).await {
            Ok(authenticated) => {
                drop(unauthenticated);
                let mut welcome = BytesMut::new();
                encode::authentication_ok(&mut welcome);
                if request.database == router.database {
                    return begin(request, authenticated, address, router, worker, welcome).await;
                }
                // What exists is told only to those who have proven who they are.
                let refusal = no_such_database(&request.database, router);
                refuse(&mut request.stream, welcome, &refusal).await;
                return None;
            }
            Err(error) => {
                tracing::info!(user = request.user, %address, %error, "authentication failed");
                error.report()
            }
        },
        Err(report) => report,
    };
    refuse(&mut request.stream, BytesMut::new(), &refusal).await;
    None
}

/// What can be refused before authentication.
fn admit(router: &Router) -> Result<(), Report> {
    if router.is_draining() {
        return Err(Report::fatal("57P03", "pgweave is shutting down"));
    }
    if router.sessions.len() >= router.config.listen.max_clients {
        return Err(too_many_clients(router));
    }
    Ok(())
}

fn too_many_clients(router: &Router) -> Report {
    let most = router.config.listen.max_clients;
    Report::fatal("53300", "sorry, too many clients already").hint(format!(
        "This router admits {most} clients (listen.max_clients)."
    ))
}

fn no_such_database(database: &str, router: &Router) -> Report {
    Report::fatal("3D000", format!("database \"{database}\" does not exist")).hint(format!(
        "This cluster serves the database \"{}\".",
        router.database
    ))
}

async fn begin(
    mut request: startup::Request,
    authenticated: auth::Authenticated,
    address: SocketAddr,
    router: &Arc<Router>,
    worker: &Arc<WorkerLocal>,
    welcome: BytesMut,
) -> Option<Session> {
    let mut secret = vec![0u8; if request.minor_version >= 2 { 32 } else { 4 }];
    rand::rng().fill_bytes(&mut secret);
    let registered = router.sessions.register(
        &request.user,
        &request.database,
        address.to_string(),
        secret.clone().into(),
        router.config.listen.max_clients,
    );
    let Some(handle) = registered else {
        // Others have taken the last places while this one authenticated.
        refuse(&mut request.stream, welcome, &too_many_clients(router)).await;
        return None;
    };
    let identity = Arc::new(router.identity(&request.user, &authenticated));
    let mut client = ClientIo::new(
        request.stream,
        router.client_limits,
        worker.clone(),
        router.budget.clone(),
    );
    client.out = welcome;
    client.serves(handle.clone());
    let mut session = Session::new(
        router.clone(),
        worker.clone(),
        handle.clone(),
        client,
        identity,
        Settings::new(request.options),
    );
    match session.introduce().await {
        Ok(template) => {
            for (name, value) in template.parameters.iter() {
                let own = session
                    .application_name()
                    .filter(|_| name == "application_name");
                let value = own.unwrap_or(value).to_owned();
                encode::parameter_status(&mut session.client.out, name, &value);
            }
            session.client.reported = template.parameters.clone();
            session.server_search_path = template.search_path;
            session.adopt_settings();
            crate::warm::begin(router, &session.identity, &session.catalog());
            encode::backend_key_data(&mut session.client.out, handle.process_id, &secret);
            encode::ready_for_query(&mut session.client.out, b'I');
            match session.client.flush().await {
                Ok(()) => Some(session),
                Err(_) => {
                    router.sessions.remove(handle.process_id);
                    None
                }
            }
        }
        Err(failure) => {
            session.refuse(failure).await;
            None
        }
    }
}

impl Session {
    fn new(
        router: Arc<Router>,
        worker: Arc<WorkerLocal>,
        handle: Arc<crate::cancel::SessionHandle>,
        client: ClientIo,
        identity: Arc<PoolIdentity>,
        settings: Settings,
    ) -> Self {
        Self {
            router,
            worker,
            handle,
            client,
            identity,
            settings,
            server_search_path: String::new(),
            derived: Default::default(),
            unnamed: None,
            unanswered: None,
            registered: None,
            portals: Vec::new(),
            number_portals: 0,
            portal_marks: Savepoints::none(),
            open_cursors: Vec::new(),
            cursors: Vec::new(),
            temporary: Temporary::none(),
            links: Default::default(),
            timeout: None,
            block: None,
            unfinished: Vec::new(),
            notes: Default::default(),
            literals: Default::default(),
            has_begun: false,
            measures: None,
            skipping: false,
            last_shard: None,
        }
    }

    /// What the client is to be told of the server, and what the router must know of it.
    async fn introduce(&mut self) -> Step<Template> {
        let key = self.template_key();
        if let Some(template) = self.router.templates.get(&key) {
            return Ok(template);
        }
        let catalog = self.catalog();
        let need = Need {
            no_block: true,
            ..Need::any()
        };
        let index = self.link(need, &catalog).await?;
        let search_path = self.query_value(index, "SHOW search_path").await?;
        let template = Template {
            parameters: self.links[index].backend.parameters().clone(),
            search_path,
        };
        self.release_links().await;
        self.router.templates.insert(key, template.clone());
        Ok(template)
    }

    /// The application's name differs between clients, and the server echoes it as it is.
    fn template_key(&self) -> (Box<str>, u64, AppliedSettings) {
        let mut wanted = self.settings.wanted().clone();
        if wanted.contains_key("application_name") {
            let mut changed = (*wanted).clone();
            changed.remove("application_name");
            wanted = Arc::new(changed);
        }
        (
            self.identity.user().into(),
            self.catalog().epoch().0,
            wanted,
        )
    }

    fn application_name(&self) -> Option<&str> {
        match self.settings.get("application_name")? {
            super::Assignment::Text(value) => Some(value),
            super::Assignment::Sql(_) => None,
        }
    }

    /// The one value that a statement of the router's own gives.
    pub(super) async fn query_value(&mut self, index: usize, sql: &str) -> Step<String> {
        let link = &mut self.links[index];
        link.backend.query(sql.as_bytes());
        link.expects
            .push_back(crate::execute::expect::Expect::Captured);
        self.exchange(index).await?;
        let captured = std::mem::take(&mut self.links[index].captured);
        self.own_error(index)?;
        crate::wire::backend::first_value(&captured)
            .and_then(|value| String::from_utf8(value).ok())
            .ok_or_else(|| Report::error("XX000", format!("{sql} gave no value")).into())
    }

    async fn refuse(mut self, failure: Failure) {
        let report = match failure {
            Failure::Report(report) => Some(report),
            Failure::End(End::Fatal(report)) => Some(report),
            Failure::Sent => {
                // A server's ERROR, for a setting that came with the startup: there is no session that could go on.
                self.client.out = crate::wire::backend::with_fatal_errors(&self.client.out);
                None
            }
            Failure::End(_) => None,
        };
        if let Some(mut report) = report {
            report.severity = "FATAL";
            encode::error_response(&mut self.client.out, &report);
        }
        // The client may be gone already; there is nobody else to tell.
        let _ = self.client.flush().await;
        self.give_up_links().await;
        self.router.sessions.remove(self.handle.process_id);
    }
}

/// Says farewell after what there is to say before.
async fn refuse(stream: &mut crate::tls::ClientStream, mut out: BytesMut, report: &Report) {
    use tokio::io::AsyncWriteExt;
    encode::error_response(&mut out, report);
    // The client may be gone already; there is nobody else to tell.
    if stream.write_all(&out).await.is_ok() {
        let _ = stream.shutdown().await;
    }
}
