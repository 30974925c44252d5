//! A machine and what is around it, as networks of the kernel: the test itself moves onto the machine, and all that it starts is
//! there too. Nothing of it is seen outside, and all of it ends with the test.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::deploy::left_out;

/// The address of the machine in the network around it.
pub const MACHINE: &str = "10.77.0.1";
/// Another machine of that network.
pub const OTHER: &str = "10.77.0.2";
/// Where clouds serve the credentials of a machine.
pub const METADATA: &str = "169.254.169.254";
/// The same over IPv6, in Amazon's.
pub const METADATA_6: &str = "fd00:ec2::254";
/// What is served there.
pub const CREDENTIALS: &str = "the-credentials-of-this-machine";

/// A network, which lives as long as this process and its children.
struct Network {
    /// Holds it until it has been entered.
    holder: Child,
    file: File,
}

impl Network {
    fn new() -> Result<Self, String> {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("`unshare`: {error}"))?;
        let mut line = String::new();
        let told = BufReader::new(holder.stdout.take().expect("it is piped")).read_line(&mut line);
        if !matches!(told, Ok(1..)) {
            let mut words = String::new();
            drop(holder.stderr.take().expect("it is piped").read_to_string(&mut words));
            drop(holder.wait());
            return Err(format!("`unshare --net`: {}", words.trim()));
        }
        let file = File::open(format!("/proc/{}/ns/net", holder.id())).map_err(|error| error.to_string())?;
        Ok(Self { holder, file })
    }

    /// This thread, and all that it starts, is in it from now on.
    fn enter(&self) {
        move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("it is a network, and ours");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

/// The machine, entered, and the network around it, in which other machines serve.
pub struct Surroundings {
    around: Network,
}

impl Surroundings {
    /// None where this process may not make networks, or a program is missing.
    pub fn enter() -> Option<Self> {
        match Self::made() {
            Ok(surroundings) => Some(surroundings),
            Err(reason) => {
                left_out(&format!("no network of its own: {reason}"));
                None
            }
        }
    }

    fn made() -> Result<Self, String> {
        let (machine, around) = (Network::new()?, Network::new()?);
        machine.enter();
        let pid = around.holder.id().to_string();
        for line in [
            "link set lo up".to_owned(),
            format!("link add uplink type veth peer name machine netns {pid}"),
            format!("address add {MACHINE}/24 dev uplink"),
            "address add fd77::1/64 dev uplink nodad".to_owned(),
            "link set uplink up".to_owned(),
            format!("route add default via {OTHER}"),
        ] {
            ip(&line)?;
        }
        let surroundings = Self { around };
        surroundings.there(|| {
            for line in [
                "link set lo up".to_owned(),
                format!("address add {OTHER}/24 dev machine"),
                "address add fd77::2/64 dev machine nodad".to_owned(),
                format!("address add {METADATA}/32 dev lo"),
                format!("address add {METADATA_6}/128 dev lo nodad"),
                "link set machine up".to_owned(),
                format!("route add default via {MACHINE}"),
                "-6 route add default via fd77::1".to_owned(),
            ] {
                ip(&line)?;
            }
            Ok::<(), String>(())
        })?;
        ip("-6 route add default via fd77::2")?;
        Ok(surroundings)
    }

    /// Does something on the other machine.
    pub fn there<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let on_it = scope.spawn(|| {
                self.around.enter();
                work()
            });
            on_it.join().expect("it did not panic")
        })
    }

    /// Serves credentials at the metadata addresses, and a page on every other address of the other machine.
    pub fn serve_metadata(&self) {
        let listener = self.there(|| TcpListener::bind("[::]:80").expect("the network is ours"));
        serve(listener, CREDENTIALS);
    }
}

fn ip(line: &str) -> Result<(), String> {
    let output = Command::new("ip").args(line.split(' ')).output().map_err(|error| format!("`ip`: {error}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("`ip {line}`: {}", words.trim())) }
}

/// Answers every connection with this text as a page, until the test ends.
pub fn serve(listener: TcpListener, text: &'static str) {
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let page = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{text}\n", text.len() + 1);
            drop(answer(stream, &page));
        }
    });
}

fn answer(mut stream: TcpStream, page: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    // Whatever is asked.
    let mut request = [0; 4096];
    let _read = stream.read(&mut request)?;
    stream.write_all(page.as_bytes())
}

/// Passes every connection to `listener` on to an address of the machine, until the test ends.
pub fn relay(listener: TcpListener, to: String) {
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect(&to) else { continue };
            for (mut from, mut into) in [(&near, &far), (&far, &near)].map(|(a, b)| (copy(a), copy(b))) {
                thread::spawn(move || {
                    drop(std::io::copy(&mut from, &mut into));
                    drop(into.shutdown(std::net::Shutdown::Write));
                });
            }
        }
    });
}

fn copy(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a descriptor is free")
}
