//! A Redis connection without any comfort: blocking, pipelined by hand, replies as ranges of one buffer.
//!
//! The bench measures with it, so that what it measures is Redis and the workers and not a client's own queues; the
//! floor subject is built on it. Nothing else uses it: it does not reconnect and retries nothing.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::target::{Address, Target};
use crate::tls::blocking::Stream;

/// One token of a reply. An array's elements follow it as tokens of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// An array of so many elements.
    Array(usize),
    /// A text of any bytes, or a status line.
    Text(Range<usize>),
    /// A number.
    Integer(i64),
    /// Nothing.
    Nil,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<Stream>),
}

impl Socket {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
            Self::Tls(stream) => Self::Tls(Box::new(stream.try_clone()?)),
        })
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes),
        }
    }
}

/// A failure of the connection, or Redis's own refusal.
fn refused(text: &[u8]) -> io::Error {
    io::Error::other(String::from_utf8_lossy(text).into_owned())
}

fn garbled() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "unexpected reply from Redis")
}

/// The sending half: commands gather in a buffer and leave together.
#[derive(Debug)]
pub(crate) struct Sender {
    socket: Socket,
    waiting: Vec<u8>,
}

/// The receiving half.
#[derive(Debug)]
pub(crate) struct Receiver {
    socket: Socket,
    buffer: Vec<u8>,
    /// What has been read and not yet consumed.
    unread: Range<usize>,
}

/// Both halves.
#[derive(Debug)]
pub(crate) struct Wire {
    /// Commands go here.
    pub(crate) sender: Sender,
    /// Replies come from here.
    pub(crate) receiver: Receiver,
}

const BUFFER_MIN: usize = 256 << 10;
/// How long Redis may take to accept a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

impl Wire {
    /// Connects and logs in. Every read fails after `patience` without a byte.
    pub(crate) fn connect(target: &Target, patience: Duration) -> io::Result<Self> {
        let socket = match &target.address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, CONNECT_WITHIN)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(patience))?;
                match &target.tls {
                    Some((tls, host)) => Socket::Tls(Box::new(Stream::connect(tls, host, stream)?)),
                    None => Socket::Tcp(stream),
                }
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(patience))?;
                Socket::Unix(stream)
            }
        };
        let sender = Sender { socket: socket.try_clone()?, waiting: Vec::with_capacity(BUFFER_MIN) };
        let receiver = Receiver { socket, buffer: vec![0; BUFFER_MIN], unread: 0..0 };
        let mut wire = Self { sender, receiver };
        if let Some((user, password)) = &target.credentials {
            wire.run(&[b"AUTH", user.as_bytes(), password.as_bytes()])?;
        }
        if target.database != 0 {
            wire.run(&[b"SELECT", target.database.to_string().as_bytes()])?;
        }
        Ok(wire)
    }

    /// Runs one command and throws its reply away; an error reply is an error.
    pub(crate) fn run(&mut self, words: &[&[u8]]) -> io::Result<()> {
        self.sender.command(words);
        self.sender.flush()?;
        self.receiver.skip()?;
        self.receiver.forget();
        Ok(())
    }

    /// Runs one command that answers a text.
    pub(crate) fn text(&mut self, words: &[&[u8]]) -> io::Result<Option<String>> {
        self.sender.command(words);
        self.sender.flush()?;
        let answer = match self.receiver.token()? {
            Token::Text(range) => Some(String::from_utf8_lossy(self.receiver.bytes(&range)).into_owned()),
            Token::Integer(number) => Some(number.to_string()),
            Token::Nil => None,
            Token::Array(_) => return Err(garbled()),
        };
        self.receiver.forget();
        Ok(answer)
    }
}

impl Sender {
    /// Puts one command into the buffer.
    pub(crate) fn command(&mut self, words: &[&[u8]]) {
        self.begin(words.len());
        for word in words {
            self.word(word);
        }
    }

    /// Begins a command of so many words; they must follow.
    pub(crate) fn begin(&mut self, words: usize) {
        self.waiting.push(b'*');
        self.decimal(words);
        self.waiting.extend_from_slice(b"\r\n");
    }

    /// One word of the command that was begun.
    pub(crate) fn word(&mut self, word: &[u8]) {
        self.waiting.push(b'$');
        self.decimal(word.len());
        self.waiting.extend_from_slice(b"\r\n");
        self.waiting.extend_from_slice(word);
        self.waiting.extend_from_slice(b"\r\n");
    }

    /// Sends what has gathered.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let sent = self.socket.write_all(&self.waiting);
        self.waiting.clear();
        sent
    }

    /// Ends the connection for both halves.
    pub(crate) fn close(&self) {
        // An error says that it is closed already.
        drop(match &self.socket {
            Socket::Tcp(stream) => stream.shutdown(std::net::Shutdown::Both),
            Socket::Unix(stream) => stream.shutdown(std::net::Shutdown::Both),
            Socket::Tls(stream) => stream.shutdown(),
        });
    }

    fn decimal(&mut self, mut number: usize) {
        let mut digits = [0_u8; 20];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b'0' + u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.waiting.extend_from_slice(&digits[first..]);
    }
}

impl Receiver {
    /// The bytes of a text token. Valid until [`Self::forget`].
    pub(crate) fn bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.buffer[range.clone()]
    }

    /// Forgets everything consumed so far; ranges given out before mean nothing from here on.
    pub(crate) fn forget(&mut self) {
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
    }

    /// The next token; an error reply is an error.
    pub(crate) fn token(&mut self) -> io::Result<Token> {
        let line = self.line()?;
        let Some((&kind, rest)) = self.buffer[line.clone()].split_first() else { return Err(garbled()) };
        match kind {
            b'$' => {
                let Some(length) = length(rest)? else { return Ok(Token::Nil) };
                let text = self.unread.start..self.unread.start + length;
                while self.unread.end < text.end + 2 {
                    self.fill()?;
                }
                self.unread.start = text.end + 2;
                Ok(Token::Text(text))
            }
            b'*' => Ok(length(rest)?.map_or(Token::Nil, Token::Array)),
            b':' => Ok(Token::Integer(number(rest)?)),
            b'+' => Ok(Token::Text(line.start + 1..line.end)),
            b'-' => Err(refused(rest)),
            _ => Err(garbled()),
        }
    }

    /// The next token, which is an array; none where it is nil.
    pub(crate) fn array(&mut self) -> io::Result<Option<usize>> {
        match self.token()? {
            Token::Array(length) => Ok(Some(length)),
            Token::Nil => Ok(None),
            Token::Text(_) | Token::Integer(_) => Err(garbled()),
        }
    }

    /// The next token, which is a text.
    pub(crate) fn text(&mut self) -> io::Result<Range<usize>> {
        match self.token()? {
            Token::Text(range) => Ok(range),
            Token::Array(_) | Token::Integer(_) | Token::Nil => Err(garbled()),
        }
    }

    /// Passes over one whole reply.
    pub(crate) fn skip(&mut self) -> io::Result<()> {
        let mut left = 1_usize;
        while left > 0 {
            left -= 1;
            if let Token::Array(length) = self.token()? {
                left += length;
            }
        }
        Ok(())
    }

    fn line(&mut self) -> io::Result<Range<usize>> {
        let start = self.unread.start;
        let mut looked = start;
        loop {
            let fresh = &self.buffer[looked..self.unread.end];
            if let Some(at) = fresh.iter().position(|&byte| byte == b'\n') {
                let end = looked + at;
                self.unread.start = end + 1;
                // Every line ends in \r\n.
                return if end > start { Ok(start..end - 1) } else { Err(garbled()) };
            }
            looked = self.unread.end;
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.unread.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        match self.socket.read(&mut self.buffer[self.unread.end..])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            length => {
                self.unread.end += length;
                Ok(())
            }
        }
    }
}

fn number(digits: &[u8]) -> io::Result<i64> {
    std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or_else(garbled)
}

/// A length, or none for -1.
fn length(digits: &[u8]) -> io::Result<Option<usize>> {
    Ok(usize::try_from(number(digits)?).ok())
}
