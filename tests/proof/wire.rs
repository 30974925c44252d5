//! A connection to a redis-server, one command after the other, and the values that travel on it.
//!
//! Texts are bytes as Latin-1 characters, so that any payload survives.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// What Redis answers, and what the model expects.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    Nil,
    /// Numbers too.
    Text(String),
    List(Vec<Value>),
    /// The first word of its text.
    Error(String),
    /// Expected where any answer will do.
    Any,
}

impl Value {
    pub fn text(text: impl fmt::Display) -> Self {
        Self::Text(text.to_string())
    }

    pub fn texts<T: fmt::Display>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::List(texts.into_iter().map(Self::text).collect())
    }

    /// Is `seen` as expected?
    pub fn allows(&self, seen: &Self) -> bool {
        match (self, seen) {
            (Self::Any, _) => true,
            (Self::List(expected), Self::List(seen)) => {
                expected.len() == seen.len() && expected.iter().zip(seen).all(|(expected, seen)| expected.allows(seen))
            }
            _ => self == seen,
        }
    }

    pub fn list(&self) -> &[Value] {
        match self {
            Self::List(list) => list,
            _ => &[],
        }
    }

    pub fn as_text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::List(list) => f.debug_list().entries(list).finish(),
            Self::Error(word) => write!(f, "error {word}"),
            Self::Any => f.write_str("(any)"),
        }
    }
}

pub struct Wire {
    reader: BufReader<TcpStream>,
    /// The whole text of the last error.
    pub last_error: String,
}

impl Wire {
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        Self { reader: BufReader::new(stream), last_error: String::new() }
    }

    pub fn call<T: AsRef<str>>(&mut self, words: &[T]) -> Value {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            let word: Vec<u8> = bytes_of(word.as_ref());
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(&word);
            bytes.extend_from_slice(b"\r\n");
        }
        self.reader.get_mut().write_all(&bytes).expect("the server lives");
        self.reply()
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).expect("the server lives");
        text_of(line.strip_suffix(b"\r\n").expect("a whole line"))
    }

    fn reply(&mut self) -> Value {
        let line = self.line();
        let (kind, rest) = line.split_at(1);
        let length = || rest.parse::<usize>().ok();
        match kind {
            "+" | ":" => Value::text(rest),
            "-" => {
                rest.clone_into(&mut self.last_error);
                Value::Error(word_of(rest))
            }
            "$" => length().map_or(Value::Nil, |length| {
                let mut bytes = vec![0; length + 2];
                self.reader.read_exact(&mut bytes).expect("the server lives");
                Value::Text(text_of(&bytes[..length]))
            }),
            "*" => length().map_or(Value::Nil, |length| Value::List((0..length).map(|_| self.reply()).collect())),
            _ => panic!("a reply that begins with {line:?}"),
        }
    }
}

/// What kind of error it is: 6.2 says so inside the text of a script's error, 7.0 and later in front.
fn word_of(text: &str) -> String {
    let kinds = ["NOGROUP", "BADOFFSET", "KEYTYPE", "NEEDKEYS", "no such key", "requires the key to exist"];
    kinds.into_iter().find(|kind| text.contains(kind)).unwrap_or(text).to_owned()
}

pub fn bytes_of(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("Latin-1")).collect()
}

fn text_of(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// Texts as one MessagePack array, as the scripts take them; a number before each call's words is written as one.
pub fn packed<T: AsRef<str>>(words: &[T], counted: bool) -> String {
    let mut bytes = Vec::new();
    let count = u32::try_from(words.len() + usize::from(counted)).expect("few");
    rmp::encode::write_array_len(&mut bytes, count).expect("a Vec");
    if counted {
        rmp::encode::write_uint(&mut bytes, words.len() as u64).expect("a Vec");
    }
    for word in words {
        rmp::encode::write_str_len(&mut bytes, u32::try_from(word.as_ref().len()).expect("short")).expect("a Vec");
        bytes.extend(bytes_of(word.as_ref()));
    }
    text_of(&bytes)
}

/// The words of the one call that a script of verbs answers.
pub fn unpacked(text: &str) -> Vec<String> {
    let bytes = bytes_of(text);
    let mut rest = bytes.as_slice();
    assert_eq!(rmp::decode::read_array_len(&mut rest).expect("an array"), 1);
    let count = rmp::decode::read_array_len(&mut rest).expect("an array of words");
    let mut words = Vec::new();
    for _ in 0..count {
        let length = rmp::decode::read_str_len(&mut rest).expect("a text") as usize;
        let (word, after) = rest.split_at(length);
        words.push(text_of(word));
        rest = after;
    }
    words
}
