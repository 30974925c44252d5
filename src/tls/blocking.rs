//! An encrypted connection for who reads and writes in two threads of his own and waits in both.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::Tls;

/// One of at most one record and its header.
const HELD_BYTES: usize = 17 << 10;

/// One half, or both. Nothing waits for the network while it holds the lock, so that each half can go on while the other
/// waits.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: TcpStream,
    connection: Arc<Mutex<ClientConnection>>,
    /// For the words of an error: a server may refuse our certificate after the handshake.
    tls: Tls,
    /// What came over the network and is not yet decrypted.
    held: Box<[u8]>,
    undecrypted: Range<usize>,
}

impl Stream {
    /// Shakes hands on a fresh connection to this host.
    pub(crate) fn connect(tls: &Tls, host: &str, mut socket: TcpStream) -> io::Result<Self> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut connection = ClientConnection::new(tls.config(), name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).map_err(|error| explained(tls, error))?;
        }
        Ok(Self::half(socket, Arc::new(Mutex::new(connection)), tls.clone()))
    }

    fn half(socket: TcpStream, connection: Arc<Mutex<ClientConnection>>, tls: Tls) -> Self {
        Self { socket, connection, tls, held: vec![0; HELD_BYTES].into(), undecrypted: 0..0 }
    }

    /// The other half, before anything was read.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self::half(self.socket.try_clone()?, Arc::clone(&self.connection), self.tls.clone()))
    }

    /// Waits for bytes; none at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut connection = lock(&self.connection);
            match connection.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            if self.undecrypted.is_empty() {
                drop(connection);
                let length = self.socket.read(&mut self.held)?;
                if length == 0 {
                    return Ok(0);
                }
                self.undecrypted = 0..length;
                continue;
            }
            let mut rest = &self.held[self.undecrypted.clone()];
            connection.read_tls(&mut rest)?;
            self.undecrypted.start = self.undecrypted.end - rest.len();
            connection.process_new_packets().map_err(|error| explained(&self.tls, io::Error::other(error)))?;
        }
    }

    /// Sends all of these bytes.
    pub(crate) fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let mut encrypted = Vec::new();
        while !bytes.is_empty() {
            let mut connection = lock(&self.connection);
            // As much as the connection takes at once.
            let taken = connection.writer().write(bytes)?;
            bytes = &bytes[taken..];
            encrypted.clear();
            while connection.wants_write() {
                connection.write_tls(&mut encrypted)?;
            }
            drop(connection);
            self.socket.write_all(&encrypted)?;
        }
        Ok(())
    }

    /// Ends the connection for both halves.
    pub(crate) fn shutdown(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Both)
    }
}

fn lock(connection: &Mutex<ClientConnection>) -> MutexGuard<'_, ClientConnection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

fn explained(tls: &Tls, error: io::Error) -> io::Error {
    match tls.explain_causes(&error) {
        Some(text) => io::Error::new(error.kind(), text),
        None => error,
    }
}
