//! The listener: takes connections and hands each to the worker with the fewest.
//!
//! A worker is one thread with its own single-threaded runtime; a session lives on one worker for ever, and the server
//! connections it uses are registered there. So a statement wakes no other thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, LocalOptions};
use tokio::sync::mpsc;

use crate::router::Router;
use crate::session::serve_client;
use crate::worker::WorkerLocal;

/// Stack of a worker thread: PostgreSQL's grammar recurses on nested statements.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// A running worker, as the listener sees it.
struct Worker {
    clients: mpsc::UnboundedSender<(std::net::TcpStream, SocketAddr)>,
    sessions: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

/// The workers of one router.
pub struct Workers(Vec<Worker>);

impl Workers {
    /// Starts one thread for each of `locals`.
    pub fn start(router: &Arc<Router>, locals: Vec<Arc<WorkerLocal>>) -> std::io::Result<Self> {
        locals
            .into_iter()
            .map(|local| start_worker(router.clone(), local))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Takes connections until the future is dropped.
    pub async fn accept(&self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, address)) => self.hand_over(stream, address),
                Err(error) => {
                    // Out of file descriptors, or a connection that was gone before it was taken. The former lasts
                    // until some session ends, so give that a chance.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            }
        }
    }

    fn hand_over(&self, stream: TcpStream, address: SocketAddr) {
        let Some(worker) = self
            .0
            .iter()
            .min_by_key(|worker| worker.sessions.load(Ordering::Relaxed))
        else {
            return;
        };
        let stream = stream.set_nodelay(true).and_then(|()| stream.into_std());
        match stream {
            Ok(stream) => {
                worker.sessions.fetch_add(1, Ordering::Relaxed);
                if worker.clients.send((stream, address)).is_err() {
                    worker.sessions.fetch_sub(1, Ordering::Relaxed);
                    tracing::error!("a worker thread has ended; the connection is dropped");
                }
            }
            Err(error) => tracing::debug!(%error, "a connection was lost before it began"),
        }
    }

    /// Ends the workers and whatever still runs on them.
    pub fn stop(self) {
        for worker in self.0 {
            drop(worker.clients);
            if worker.thread.join().is_err() {
                tracing::error!("a worker thread panicked");
            }
        }
    }
}

fn start_worker(router: Arc<Router>, local: Arc<WorkerLocal>) -> std::io::Result<Worker> {
    let (clients, mut arrivals) = mpsc::unbounded_channel::<(std::net::TcpStream, SocketAddr)>();
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
                while let Some((stream, address)) = arrivals.recv().await {
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
                        serve_client(stream, address, router, local).await;
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
