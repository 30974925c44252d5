//! Programs that keep credentials: `docker-credential-NAME get`, asked on its input and heard on its output.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::login::Login;
use crate::secret::Secret;

/// How long a program may take.
const TIME_MAX: Duration = Duration::from_secs(10);
/// What it may say.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// What all of them say where they keep nothing for a registry.
const NOT_FOUND: &str = "credentials not found";
/// The user of an answer whose secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// Not `Debug`: it is made of secrets.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Kept {
    #[serde(default)]
    username: String,
    secret: String,
}

/// Asks the program of this name for its credentials for `server`; none where it has none. The error is the rest of a
/// sentence, and quotes nothing that the program said.
pub(super) async fn ask(name: &str, server: &str) -> Result<Option<Login>, String> {
    let program = program_of(name)?;
    match timeout(TIME_MAX, run(&program, server)).await {
        Err(_) => Err(format!("the helper {program}, which did not answer within {TIME_MAX:?}")),
        Ok(Err(why)) => Err(format!("the helper {program}, which {why}")),
        Ok(Ok((is_fine, said))) => {
            understood(is_fine, &said).map_err(|why| format!("the helper {program}, which {why}"))
        }
    }
}

/// What is wrong with the helper of this name, as far as that is known without asking it; the rest of a sentence.
pub(super) fn complaint(name: &str) -> Option<String> {
    let program = match program_of(name) {
        Ok(program) => program,
        Err(why) => return Some(why),
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|folder| folder.join(&program).is_file());
    (!is_there).then(|| format!("the helper {program}, which is not on the search path"))
}

fn program_of(name: &str) -> Result<String, String> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    // It becomes part of the name of a program.
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) {
        return Err("a credential helper whose name is not made of letters, digits, dots and dashes".to_owned());
    }
    Ok(format!("docker-credential-{name}"))
}

/// The process group of a program. Unless the program has ended by itself, all of it is killed.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let leader = self.0.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(leader) = leader {
            // One that has ended meanwhile needs no signal.
            _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Whether the program ended well, and what it said.
async fn run(program: &str, server: &str) -> Result<(bool, String), String> {
    let mut child = Command::new(program)
        .arg("get")
        // A script may have started further programs, which end with it.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot be started: {error}"))?;
    let mut group = Group(child.id());
    if let Some(mut input) = child.stdin.take() {
        // A program that does not read its input may still answer.
        drop(input.write_all(format!("{server}\n").as_bytes()).await);
    }
    let mut said = Vec::new();
    if let Some(output) = child.stdout.take() {
        let read = output.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut said).await;
        read.map_err(|error| format!("cannot be heard: {error}"))?;
    }
    if said.len() as u64 > ANSWER_BYTES_MAX {
        return Err(format!("said more than {ANSWER_BYTES_MAX} bytes"));
    }
    let status = child.wait().await.map_err(|error| format!("cannot be waited for: {error}"))?;
    group.0 = None;
    Ok((status.success(), String::from_utf8_lossy(&said).into_owned()))
}

fn understood(is_fine: bool, said: &str) -> Result<Option<Login>, &'static str> {
    if !is_fine {
        return if said.contains(NOT_FOUND) { Ok(None) } else { Err("failed") };
    }
    let kept: Kept = serde_json::from_str(said).map_err(|_| "did not answer with JSON of the right form")?;
    let secret = Secret::new(kept.secret);
    Ok(Some(match kept.username.as_str() {
        TOKEN_USER => Login::Identity(secret),
        "" => return Err("answered without a user"),
        _ => Login::Password { user: kept.username, password: secret },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood_and_never_quoted() {
        let password = Login::Password { user: "ann".to_owned(), password: Secret::new("sesame") };
        let answer = r#"{"ServerURL":"r.example","Username":"ann","Secret":"sesame"}"#;
        assert_eq!(understood(true, answer), Ok(Some(password)));
        let token = r#"{"Username":"<token>","Secret":"t"}"#;
        assert_eq!(understood(true, token), Ok(Some(Login::Identity(Secret::new("t")))));
        assert_eq!(understood(false, "credentials not found in native keychain\n"), Ok(None));
        assert_eq!(understood(false, "sesame"), Err("failed"));
        assert_eq!(understood(true, "sesame"), Err("did not answer with JSON of the right form"));
    }

    #[tokio::test]
    async fn a_name_is_no_path() {
        for name in ["", "../x", "a b", "a;b"] {
            assert!(ask(name, "r").await.expect_err("no program").contains("made of letters"), "{name}");
        }
        let missing = ask("startjobs-has-none", "r").await.expect_err("no such program");
        assert!(
            missing.starts_with("the helper docker-credential-startjobs-has-none, which cannot be started"),
            "{missing}"
        );
    }
}
