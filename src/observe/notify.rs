//! The notification socket of a service manager, sd_notify(3): where it is, and one datagram to it.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Where the manager listens.
#[derive(Debug)]
pub(crate) struct NotifySocket {
    socket: UnixDatagram,
    address: SocketAddr,
    is_refused: AtomicBool,
}

impl NotifySocket {
    /// The socket that the environment names, if it names one. One that cannot be used is logged.
    pub(crate) fn of_process() -> Option<Self> {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())?;
        let opened = Self::open(&name);
        if let Err(error) = &opened {
            tracing::warn!(socket = %name.to_string_lossy(), err = %error, "service manager cannot be notified");
        }
        opened.ok()
    }

    /// The socket of this name: a path, or an abstract name after `@`.
    pub(crate) fn open(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => abstract_address(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => {
                let text = "NOTIFY_SOCKET is neither an absolute path nor an abstract name that begins with @";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        };
        let socket = UnixDatagram::unbound()?;
        // The loop must not wait for a manager that does not read.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address, is_refused: AtomicBool::new(false) })
    }

    /// Sends these lines; false where they did not arrive, which is logged once until some do.
    pub(crate) fn send(&self, lines: &[String]) -> bool {
        let sent = self.socket.send_to_addr(lines.join("\n").as_bytes(), &self.address);
        let was_refused = self.is_refused.swap(sent.is_err(), Ordering::Relaxed);
        match &sent {
            Err(error) if !was_refused => {
                tracing::warn!(socket = ?self.address, err = %error, "service manager cannot be notified");
            }
            Ok(_) if was_refused => tracing::info!(socket = ?self.address, "service manager is notified again"),
            _ => {}
        }
        sent.is_ok()
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

/// How often the manager wants a sign of life, if it does: `WATCHDOG_USEC`, where `WATCHDOG_PID` names this process or
/// nothing does.
pub(crate) fn watchdog() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_ours =
        std::env::var_os("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(std::process::id().into());
    number("WATCHDOG_USEC").filter(|&limit| is_ours && limit > 0).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_that_does_not_read_holds_nothing_up() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("a socket");
        let socket = NotifySocket::open(path.as_os_str()).expect("it is a path");
        let line = ["STATUS=x".to_owned()];
        let sent = (0..100_000).take_while(|_| socket.send(&line)).count();
        assert!(sent > 0 && sent < 100_000, "the kernel's queue is bounded: {sent}");
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).expect("it was sent");
        assert_eq!(&buffer[..length], b"STATUS=x");
        assert!(socket.send(&line), "there is room again");
    }

    #[test]
    fn names_are_paths_or_abstract() {
        for name in ["", "relative/path", "vsock:2:1234"] {
            let error = NotifySocket::open(OsStr::new(name)).expect_err("it is neither");
            assert!(error.to_string().contains("NOTIFY_SOCKET"), "{error}");
        }
        let long = "@".to_owned() + &"x".repeat(200);
        NotifySocket::open(OsStr::new(&long)).expect_err("the kernel's names are shorter");
        NotifySocket::open(OsStr::new("@name")).expect("nothing is sent yet");
    }
}
