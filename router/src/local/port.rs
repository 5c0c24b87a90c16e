//! Free ports on 127.0.0.1, held so that nothing else takes them.
//!
//! A held port is bound but not listening: a client is refused, as by a server that is down. On Linux a server binds the
//! port beside the holder, because both allow the address to be reused, so there is no moment at which another
//! process could take the port, not even while the server is down. Elsewhere the holder lets go just before.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use socket2::{Domain, Socket, Type};

use super::Error;

/// A port of 127.0.0.1 that this process holds.
#[derive(Debug)]
pub(super) struct HeldPort {
    port: u16,
    socket: Option<Socket>,
}

impl HeldPort {
    /// Holds a port that the system chooses.
    pub(super) fn any() -> Result<HeldPort, Error> {
        HeldPort::bind(0, false).map_err(Error::io("hold a free port on 127.0.0.1"))
    }

    /// Holds this port; an error of kind `AddrInUse` if another process has it.
    pub(super) fn exactly(port: u16) -> io::Result<HeldPort> {
        // A listener tells whether one is there already; connections that linger from an earlier server do not count.
        std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        HeldPort::bind(port, true)
    }

    /// Holds the first free port from `first` on.
    pub(super) fn from(first: u16) -> Result<HeldPort, Error> {
        const ATTEMPTS: u16 = 1000;
        (first..first.saturating_add(ATTEMPTS))
            .find_map(|port| HeldPort::bind(port, false).ok())
            .ok_or(Error::NoFreePort {
                attempts: usize::from(ATTEMPTS),
            })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Lets a server bind the port now.
    pub(super) fn give(&mut self) {
        if !cfg!(target_os = "linux") {
            self.socket = None;
        }
    }

    /// Holds the port again after its server has ended, where `give` let go of it.
    pub(super) fn take_back(&mut self) {
        if self.socket.is_none() {
            // If another process was faster, the next start notices.
            self.socket = HeldPort::bind(self.port, true)
                .ok()
                .and_then(|held| held.socket);
        }
    }

    /// `shared` tolerates other sockets that allow reuse; without it the port is certainly ours alone.
    fn bind(port: u16, shared: bool) -> io::Result<HeldPort> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(shared)?;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into())?;
        socket.set_reuse_address(true)?;
        let address = socket.local_addr()?;
        let port = address
            .as_socket_ipv4()
            .map(|address| address.port())
            .unwrap_or(port);
        Ok(HeldPort {
            port,
            socket: Some(socket),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_held_port_refuses_clients_and_other_holders_but_admits_a_server() {
        let mut held = HeldPort::any().unwrap();
        let address = (Ipv4Addr::LOCALHOST, held.port());
        assert_eq!(
            TcpStream::connect(address).unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        assert!(HeldPort::bind(held.port(), false).is_err());
        held.give();
        let server = TcpListener::bind(address).unwrap();
        TcpStream::connect(address).unwrap();
        assert_eq!(
            HeldPort::exactly(held.port()).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop(server);
        held.take_back();
        assert_eq!(
            TcpStream::connect(address).unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
    }

    #[test]
    fn counting_from_a_taken_port_finds_the_next() {
        let first = HeldPort::any().unwrap();
        let next = HeldPort::from(first.port()).unwrap();
        assert!(next.port() > first.port());
    }
}
