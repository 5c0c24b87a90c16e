//! A TCP proxy in front of a server that breaks a connection at a message that a test names.
//!
//! Entry points: [`Proxy::start`], [`Proxy::cut`]. It reads the protocol's messages in both directions, so that a
//! connection breaks before a message has come to the server, or after the server has acted on it and before it could say so.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Longer than any statement of a test takes to come.
const PATIENCE: Duration = Duration::from_secs(30);
const SSL_REQUEST: u32 = 80_877_103;
const CANCEL_REQUEST: u32 = 80_877_102;

/// When the connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The message does not reach the server.
    Before,
    /// The server's answer, up to ReadyForQuery, does not reach the router.
    AnswerLost,
    /// As `Before`, and the server cannot be reached from then on.
    BeforeAndClosed,
    /// As `AnswerLost`, and the server cannot be reached from then on.
    AnswerLostAndClosed,
    /// The router gets an error instead of the server's answer, and the server does not get the message. The connection stays.
    Refused,
    /// Neither side hears of the other any more, and neither learns that: as if the network swallowed everything.
    Silent,
}

/// Serves until the process ends.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: u16,
    rule: Mutex<Option<(Vec<u8>, Cut)>>,
    /// Whether the rule has been carried out.
    done: Mutex<bool>,
    carried_out: Condvar,
    /// Connections are refused: the server cannot be reached.
    closed: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub fn start(server: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            server,
            rule: Mutex::default(),
            done: Mutex::default(),
            carried_out: Condvar::new(),
            closed: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = serving.clone();
                // A connection that breaks is no failure here.
                std::thread::spawn(move || shared.serve(client).ok());
            }
        });
        Proxy { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Breaks the connection on which the next message with this text comes, once.
    pub fn cut(&self, text: &str, cut: Cut) {
        *self.shared.done.lock().unwrap() = false;
        *self.shared.rule.lock().unwrap() = Some((text.as_bytes().to_vec(), cut));
    }

    /// Waits until a connection has been broken.
    #[track_caller]
    pub fn has_cut(&self) {
        let done = self.shared.done.lock().unwrap();
        let (done, _) = self
            .shared
            .carried_out
            .wait_timeout_while(done, PATIENCE, |done| !*done)
            .unwrap();
        assert!(*done, "no message came to be cut at");
    }

    /// Breaks all connections and refuses new ones, as a network does that has come apart.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.break_all();
    }

    pub fn open(&self) {
        self.shared.closed.store(false, Ordering::SeqCst);
    }
}

impl Shared {
    fn serve(self: Arc<Self>, mut client: TcpStream) -> io::Result<()> {
        if self.closed.load(Ordering::SeqCst) {
            return Ok(());
        }
        client.set_nodelay(true)?;
        let startup = loop {
            let mut length = [0; 4];
            client.read_exact(&mut length)?;
            let mut body = vec![0; (u32::from_be_bytes(length) as usize).saturating_sub(4)];
            client.read_exact(&mut body)?;
            match body.first_chunk().map(|code| u32::from_be_bytes(*code)) {
                Some(SSL_REQUEST) => client.write_all(b"N")?,
                code => break (code == Some(CANCEL_REQUEST), [&length[..], &body].concat()),
            }
        };
        let (cancels, startup) = startup;
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.server))?;
        server.set_nodelay(true)?;
        server.write_all(&startup)?;
        if cancels {
            io::copy(&mut server, &mut client)?;
            return Ok(());
        }
        {
            let mut open = self.open.lock().unwrap();
            open.push(client.try_clone()?);
            open.push(server.try_clone()?);
        }
        let lost = Arc::new(AtomicBool::new(false));
        let answers = {
            let (server, client) = (server.try_clone()?, client.try_clone()?);
            let (shared, lost) = (self.clone(), lost.clone());
            std::thread::spawn(move || {
                shared.answers(&server, &client, &lost).ok();
                let _ = client.shutdown(Shutdown::Both);
                let _ = server.shutdown(Shutdown::Both);
            })
        };
        self.questions(&client, &server, &lost).ok();
        let _ = server.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
        answers.join().ok();
        Ok(())
    }

    fn questions(
        &self,
        mut client: &TcpStream,
        mut server: &TcpStream,
        lost: &AtomicBool,
    ) -> io::Result<()> {
        loop {
            let message = message(&mut client)?;
            match self.rule(&message) {
                None => {}
                Some(Cut::Before | Cut::BeforeAndClosed) => {
                    self.tell();
                    return Ok(());
                }
                Some(Cut::AnswerLost | Cut::AnswerLostAndClosed) => {
                    lost.store(true, Ordering::SeqCst);
                }
                Some(Cut::Refused) => {
                    let error = b"SERROR\0VERROR\0C55000\0Mprepared transaction is busy\0\0";
                    let length = (error.len() as u32 + 4).to_be_bytes();
                    let ready = b"Z\0\0\0\x05I";
                    client.write_all(&[b"E", &length[..], error, ready].concat())?;
                    self.tell();
                    continue;
                }
                Some(Cut::Silent) => {
                    self.tell();
                    // Until the test ends, and its process.
                    loop {
                        std::thread::park();
                    }
                }
            }
            server.write_all(&message)?;
        }
    }

    fn answers(
        &self,
        mut server: &TcpStream,
        mut client: &TcpStream,
        lost: &AtomicBool,
    ) -> io::Result<()> {
        loop {
            let message = message(&mut server)?;
            if lost.load(Ordering::SeqCst) {
                if message[0] == b'Z' {
                    self.tell();
                    return Ok(());
                }
                continue;
            }
            client.write_all(&message)?;
        }
    }

    /// What is to be done at this message; whoever takes the rule does it.
    fn rule(&self, message: &[u8]) -> Option<Cut> {
        let mut rule = self.rule.lock().unwrap();
        let (text, cut) = rule.as_ref()?;
        let cut = *cut;
        let found = message.windows(text.len()).any(|part| part == text);
        if !found {
            return None;
        }
        *rule = None;
        if matches!(cut, Cut::BeforeAndClosed | Cut::AnswerLostAndClosed) {
            self.closed.store(true, Ordering::SeqCst);
        }
        Some(cut)
    }

    fn break_all(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            // It may have been broken before.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn tell(&self) {
        if self.closed.load(Ordering::SeqCst) {
            self.break_all();
        }
        *self.done.lock().unwrap() = true;
        self.carried_out.notify_all();
    }
}

/// One message with its tag.
fn message(stream: &mut &TcpStream) -> io::Result<Vec<u8>> {
    let mut header = [0; 5];
    stream.read_exact(&mut header)?;
    let [_, a, b, c, d] = header;
    let length = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4);
    let mut message = vec![0; 5 + length];
    message[..5].copy_from_slice(&header);
    stream.read_exact(&mut message[5..])?;
    Ok(message)
}
