//! Who may change something: those who know the token of `admin-token-file`, for a few hours after saying it.
//!
//! A session is a value in a cookie: until when, as whom, and a code that only the token can make. So every replica
//! with the same token accepts it, and a new token ends every session. What a process keeps is only which sessions were
//! ended in it before their time. The token itself is in no cookie.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;

use ring::hmac::{HMAC_SHA256, Key, sign, verify};
use tokio::sync::Mutex;

use super::text::{hex, line};
use crate::files::read_regular;
use crate::ops::doctor::{self, Finding, Level};
use crate::secret::Secret;

/// Bytes of a token at least: a shorter one could be guessed.
const TOKEN_MIN: usize = 16;
/// Bytes of the file.
const FILE_MAX: u64 = 4_096;
/// How long a session lasts, in milliseconds.
pub(crate) const SESSION_MS: u64 = 4 * 3_600_000;
/// Characters of the name that a person gives.
pub(crate) const NAME_MAX: usize = 40;
/// Wrong tokens within [`WRONG_WITHIN_MS`] after which none is compared for a while.
const WRONG_MAX: usize = 10;
const WRONG_WITHIN_MS: u64 = 60_000;

/// Sessions that are remembered as ended. Of more, those whose time is over first are forgotten.
const ENDED_MAX: usize = 4_096;

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// There is no way to act.
    #[error("this page only shows: the setting admin-token-file names no file")]
    Off,
    /// The file cannot be used.
    #[error("admin-token-file {0}")]
    File(String),
    /// It is another one.
    #[error("this is not the token of admin-token-file")]
    Wrong,
    /// Too many were wrong.
    #[error("too many wrong tokens within a minute; wait for a minute and try again")]
    TooMany,
    /// No name was given.
    #[error("a name is needed: it is written into the log with everything that you change")]
    Name,
}

/// The token, read again whenever it is needed.
#[derive(Debug)]
pub(crate) struct Tokens {
    path: Option<String>,
    /// When tokens were wrong, Unix milliseconds.
    wrong: Mutex<VecDeque<u64>>,
    /// Sessions that were ended before their time: until when they would have been, and their codes.
    ended: Mutex<BTreeSet<(u64, String)>>,
}

/// A person who may act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    /// As it was given: foreign.
    pub(crate) name: String,
    /// Until when, Unix milliseconds of this machine's clock.
    pub(crate) until_ms: u64,
    /// What a form must hold that acts in this session.
    pub(crate) form_code: String,
}

impl Tokens {
    /// Of this file; none: the page only shows.
    pub(crate) fn new(path: Option<&str>) -> Self {
        Self { path: path.map(str::to_owned), wrong: Mutex::default(), ended: Mutex::default() }
    }

    /// Can anyone act, if the file is as it should be?
    pub(crate) fn is_on(&self) -> bool {
        self.path.is_some()
    }

    /// Is the file as it should be? An error is the rest of a sentence that begins with the setting.
    pub(crate) fn check(&self) -> Result<(), Denied> {
        if self.is_on() { self.read().map(drop) } else { Ok(()) }
    }

    /// What is wrong with who may read the file, if anything is.
    pub(crate) fn open_to_others(&self) -> Option<Finding> {
        let finding = doctor::secret_file("admin-token-file", Path::new(self.path.as_deref()?))?;
        Some(finding).filter(|finding| finding.level != Level::Ok)
    }

    fn read(&self) -> Result<Secret, Denied> {
        let path = self.path.as_deref().ok_or(Denied::Off)?;
        let text = read_regular(path, FILE_MAX).map_err(|why| Denied::File(format!("{path} {why}")))?;
        let token = text.trim();
        if token.len() < TOKEN_MIN {
            let advice = format!("{path} holds fewer than {TOKEN_MIN} bytes; make one with: openssl rand -hex 32");
            return Err(Denied::File(advice));
        }
        Ok(Secret::new(token))
    }

    fn key(&self) -> Result<Key, Denied> {
        Ok(Key::new(HMAC_SHA256, self.read()?.expose().as_bytes()))
    }

    /// The value of a session's cookie for who gives this token and this name.
    pub(crate) async fn login(&self, token: &str, name: &str, now_ms: u64) -> Result<String, Denied> {
        let name = line(name.trim(), NAME_MAX);
        if name.is_empty() {
            return Err(Denied::Name);
        }
        let mut wrong = self.wrong.lock().await;
        while wrong.front().is_some_and(|&at| at.saturating_add(WRONG_WITHIN_MS) < now_ms) {
            wrong.pop_front();
        }
        if wrong.len() >= WRONG_MAX {
            return Err(Denied::TooMany);
        }
        let key = self.key()?;
        // Comparing two codes takes equally long whatever they are.
        let given = Key::new(HMAC_SHA256, token.trim().as_bytes());
        if verify(&key, b"login", sign(&given, b"login").as_ref()).is_err() {
            wrong.push_back(now_ms);
            return Err(Denied::Wrong);
        }
        let head = format!("{}.{}", now_ms + SESSION_MS, hex(name.as_bytes()));
        let code = hex(sign(&key, format!("session.{head}").as_bytes()).as_ref());
        Ok(format!("{head}.{code}"))
    }

    /// The person of a cookie; none where it is no session of this token, or not any more.
    pub(crate) async fn person(&self, cookie: &str, now_ms: u64) -> Option<Person> {
        let key = self.key().ok()?;
        let (head, code) = cookie.rsplit_once('.')?;
        verify(&key, format!("session.{head}").as_bytes(), &unhex(code)?).ok()?;
        let (until, name) = head.split_once('.')?;
        let until_ms = until.parse().ok().filter(|&until: &u64| until > now_ms)?;
        if self.ended.lock().await.contains(&(until_ms, code.to_ascii_lowercase())) {
            return None;
        }
        let form_code = hex(sign(&key, format!("form.{cookie}").as_bytes()).as_ref());
        Some(Person { name: String::from_utf8(unhex(name)?).ok()?, until_ms, form_code })
    }

    /// Ends the session of a cookie that [`Tokens::person`] has accepted: this process accepts no copy of it any more.
    pub(crate) async fn end(&self, cookie: &str, person: &Person, now_ms: u64) {
        let Some((_, code)) = cookie.rsplit_once('.') else { return };
        let mut ended = self.ended.lock().await;
        while ended.first().is_some_and(|(until, _)| *until <= now_ms) || ended.len() >= ENDED_MAX {
            ended.pop_first();
        }
        ended.insert((person.until_ms, code.to_ascii_lowercase()));
    }
}

impl Person {
    /// Does a form hold this session's code?
    pub(crate) fn wrote(&self, code: &str) -> bool {
        let key = Key::new(HMAC_SHA256, self.form_code.as_bytes());
        let given = Key::new(HMAC_SHA256, code.as_bytes());
        verify(&key, b"form", sign(&given, b"form").as_ref()).is_ok()
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn tokens(text: &str) -> (tempfile::NamedTempFile, Tokens) {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        let tokens = Tokens::new(file.path().to_str());
        (file, tokens)
    }

    #[tokio::test]
    async fn a_session_is_of_its_token_its_time_and_its_name() {
        let (_file, tokens) = tokens("sesame-sesame-sesame\n");
        let cookie = tokens.login("sesame-sesame-sesame", " ann\u{202e} ", 1_000).await.expect("the right one");
        assert!(!cookie.contains("sesame"));
        let person = tokens.person(&cookie, 2_000).await.expect("a session");
        assert_eq!((person.name.as_str(), person.until_ms), ("ann\u{202e}", 1_000 + SESSION_MS));
        assert!(person.wrote(&person.form_code) && !person.wrote("") && !person.wrote(&cookie));
        assert_eq!(tokens.person(&cookie, 1_000 + SESSION_MS).await, None, "its time is over");
        let (_other_file, other) = self::tokens("another-token-of-ours");
        assert_eq!(other.person(&cookie, 2_000).await, None, "another token");
        let later = cookie.replacen(|digit: char| digit.is_ascii_digit(), "9", 1);
        for changed in [later.as_str(), "", ".", "..", "1.61.zz", &cookie[1..], &format!("{cookie}0")] {
            assert_eq!(tokens.person(changed, 2_000).await, None, "{changed}");
        }
    }

    #[tokio::test]
    async fn a_session_that_was_ended_is_accepted_no_more_and_what_is_kept_of_it_is_bounded() {
        let (_file, tokens) = tokens("sesame-sesame-sesame\n");
        let (cookie, other) = (tokens.login("sesame-sesame-sesame", "ann", 1_000).await, async |at| {
            tokens.login("sesame-sesame-sesame", "ann", at).await.expect("the right one")
        });
        let cookie = cookie.expect("the right one");
        let person = tokens.person(&cookie, 2_000).await.expect("a session");
        tokens.end(&cookie, &person, 2_000).await;
        let (head, code) = cookie.rsplit_once('.').expect("it has a code");
        for copy in [cookie.clone(), format!("{head}.{}", code.to_ascii_uppercase())] {
            assert_eq!(tokens.person(&copy, 2_000).await, None, "{copy}");
        }
        assert!(
            tokens.person(&other(1_001).await, 2_000).await.is_some(),
            "another session of the same person goes on"
        );
        for at in 2_000..2_000 + ENDED_MAX as u64 {
            let cookie = other(at).await;
            let person = tokens.person(&cookie, at).await.expect("a session");
            tokens.end(&cookie, &person, at).await;
        }
        assert_eq!(tokens.ended.lock().await.len(), ENDED_MAX);
        let last = other(2 * SESSION_MS).await;
        let person = tokens.person(&last, 2 * SESSION_MS).await.expect("a session");
        tokens.end(&last, &person, 2 * SESSION_MS).await;
        assert_eq!(tokens.ended.lock().await.len(), 1, "those whose time is over are forgotten");
    }

    #[tokio::test]
    async fn wrong_tokens_are_refused_and_after_some_of_them_all_are_for_a_minute() {
        let (_file, tokens) = tokens("sesame-sesame-sesame");
        for wrong in ["", "sesame", "sesame-sesame-sesamf", "sesame-sesame-sesame-"].iter().cycle().take(WRONG_MAX) {
            assert_eq!(tokens.login(wrong, "ann", 0).await, Err(Denied::Wrong));
        }
        assert_eq!(tokens.login("sesame-sesame-sesame", "ann", 0).await, Err(Denied::TooMany));
        let later = 2 * WRONG_WITHIN_MS;
        assert!(tokens.login("sesame-sesame-sesame", "ann", later).await.is_ok());
        assert_eq!(tokens.login("sesame-sesame-sesame", " ", 0).await, Err(Denied::Name));
    }

    #[tokio::test]
    async fn a_file_must_be_there_and_long_enough() {
        let (_file, short) = tokens("fifteen-bytes-x\n");
        assert!(short.check().expect_err("too short").to_string().contains("fewer than 16 bytes"));
        let missing = Tokens::new(Some("/no/such/file"));
        assert!(missing.check().expect_err("missing").to_string().contains("/no/such/file cannot be read"));
        let off = Tokens::new(None);
        assert_eq!((off.check(), off.login("x", "ann", 0).await), (Ok(()), Err(Denied::Off)));
    }
}
