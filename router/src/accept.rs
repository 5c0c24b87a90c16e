//! The listener: takes connections and hands each to the worker with the fewest.
//!
//! A worker is one thread with its own single-threaded runtime; a session lives on one worker for ever, and the server
//! connections it uses are registered there. So a statement wakes no other thread.
//!
//! A connection that has not authenticated yet takes one of `listen.max_unauthenticated` places. Where all are taken, the next
//! connection waits a moment: a crowd that comes at once is let in as fast as the workers authenticate it. If none becomes
//! free meanwhile, it is refused, and so are others at once until one does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, LocalOptions};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use crate::router::Router;
use crate::session::report::Report;
use crate::session::serve_client;
use crate::wire::encode;
use crate::worker::WorkerLocal;

/// Stack of a worker thread: PostgreSQL's grammar recurses on nested statements.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// How long a connection waits for a place among the unauthenticated.
const CROWD_PATIENCE: Duration = Duration::from_millis(200);
/// Refused connections that may read their refusal at the same time; further ones are just closed.
const FAREWELLS: usize = 64;
/// How long a refused connection may take to read its refusal.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(1);

/// A connection on its way to a worker, with its place among the unauthenticated.
type Arrival = (std::net::TcpStream, SocketAddr, OwnedSemaphorePermit);

/// A running worker, as the listener sees it.
struct Worker {
    clients: mpsc::UnboundedSender<Arrival>,
    sessions: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

/// The workers of one router.
pub struct Workers {
    workers: Vec<Worker>,
    unauthenticated: Arc<Semaphore>,
    farewells: Arc<Semaphore>,
}

impl Workers {
    /// Starts one thread for each of `locals`.
    pub fn start(router: &Arc<Router>, locals: Vec<Arc<WorkerLocal>>) -> std::io::Result<Self> {
        let workers = locals
            .into_iter()
            .map(|local| start_worker(router.clone(), local))
            .collect::<Result<_, _>>()?;
        let places = router.config.listen.max_unauthenticated;
        Ok(Self {
            workers,
            unauthenticated: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            farewells: Arc::new(Semaphore::new(FAREWELLS)),
        })
    }

    /// Takes connections until the future is dropped.
    pub async fn accept(&self, listener: TcpListener) {
        let mut crowded = false;
        loop {
            match listener.accept().await {
                Ok((stream, address)) => match self.place(&mut crowded).await {
                    Some(place) => self.hand_over(stream, address, place),
                    None => self.turn_away(stream),
                },
                Err(error) => {
                    // Out of file descriptors, or a connection that was gone before it was taken. The former lasts
                    // until some session ends, so give that a chance.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            }
        }
    }

    /// A place among the unauthenticated. `crowded`: the last one who waited for a place got none.
    async fn place(&self, crowded: &mut bool) -> Option<OwnedSemaphorePermit> {
        let places = self.unauthenticated.clone();
        let place = match places.clone().try_acquire_owned() {
            Ok(place) => Some(place),
            Err(_) if *crowded => None,
            Err(_) => timeout(CROWD_PATIENCE, places.acquire_owned())
                .await
                .ok()
                .and_then(Result::ok),
        };
        if place.is_none() && !*crowded {
            tracing::warn!("listen.max_unauthenticated is reached; connections are refused");
        }
        *crowded = place.is_none();
        place
    }

    /// Refuses a connection unheard.
    fn turn_away(&self, mut stream: TcpStream) {
        let Ok(farewell) = self.farewells.clone().try_acquire_owned() else {
            return;
        };
        tokio::spawn(async move {
            let mut out = BytesMut::new();
            let report = Report::fatal("53300", "sorry, too many clients are authenticating")
                .hint("Try again. See listen.max_unauthenticated and listen.startup_timeout_ms.");
            encode::error_response(&mut out, &report);
            // What is unread when a socket is closed would take the refusal with it. The client may be gone already.
            let _ = timeout(FAREWELL_PATIENCE, async {
                stream.write_all(&out).await?;
                stream.shutdown().await?;
                let mut said = [0; 512];
                while stream.read(&mut said).await? > 0 {}
                Ok::<_, std::io::Error>(())
            })
            .await;
            drop(farewell);
        });
    }

    fn hand_over(&self, stream: TcpStream, address: SocketAddr, place: OwnedSemaphorePermit) {
        let Some(worker) = self
            .workers
            .iter()
            .min_by_key(|worker| worker.sessions.load(Ordering::Relaxed))
        else {
            return;
        };
        let stream = stream.set_nodelay(true).and_then(|()| stream.into_std());
        match stream {
            Ok(stream) => {
                worker.sessions.fetch_add(1, Ordering::Relaxed);
                if worker.clients.send((stream, address, place)).is_err() {
                    worker.sessions.fetch_sub(1, Ordering::Relaxed);
                    tracing::error!("a worker thread has ended; the connection is dropped");
                }
            }
            Err(error) => tracing::debug!(%error, "a connection was lost before it began"),
        }
    }

    /// Ends the workers and whatever still runs on them.
    pub fn stop(self) {
        for worker in self.workers {
            drop(worker.clients);
            if worker.thread.join().is_err() {
                tracing::error!("a worker thread panicked");
            }
        }
    }
}

fn start_worker(router: Arc<Router>, local: Arc<WorkerLocal>) -> std::io::Result<Worker> {
    let (clients, mut arrivals) = mpsc::unbounded_channel::<Arrival>();
    let sessions = Arc::new(AtomicUsize::new(0));
    let count = sessions.clone();
    let (started, starting) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new()
        .name(format!("worker-{}", local.id().0))
        .stack_size(STACK_BYTES)
        .spawn(move || {
            // Made in its own thread: what runs on it never leaves that thread.
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default());
            let runtime = match runtime {
                Ok(runtime) => {
                    started.send(Ok(())).ok();
                    runtime
                }
                Err(error) => {
                    started.send(Err(error)).ok();
                    return;
                }
            };
            runtime.block_on(async move {
                let housekeeping = tokio::spawn(crate::pool::housekeeping(
                    router.pools.clone(),
                    local.clone(),
                ));
                while let Some((stream, address, place)) = arrivals.recv().await {
                    let stream = match TcpStream::from_std(stream) {
                        Ok(stream) => stream,
                        Err(error) => {
                            tracing::debug!(%error, "a connection was lost before it began");
                            count.fetch_sub(1, Ordering::Relaxed);
                            continue;
                        }
                    };
                    let guard = Count(count.clone());
                    let (router, local) = (router.clone(), local.clone());
                    tokio::task::spawn_local(async move {
                        let _guard = guard;
                        serve_client(stream, address, router, local, place).await;
                    });
                }
                housekeeping.abort();
            });
        })?;
    starting
        .recv()
        .unwrap_or_else(|_| Err(std::io::Error::other("the thread ended at once")))?;
    Ok(Worker {
        clients,
        sessions,
        thread,
    })
}

/// Counts a session down when its task ends, however it ends.
struct Count(Arc<AtomicUsize>);

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
