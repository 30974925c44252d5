//! Credentials and TLS: sentinels have their own.

use std::process::Command;

use startjobs::embedded::sentinels::{SentinelOptions, Sentinels};

use super::Rig;
use crate::support::certificates::Certificates;

/// A command of the program under test with these settings: its exit code and all it says.
fn run(arguments: &[&str], settings: &[(String, String)]) -> (Option<i32>, String) {
    let variable = |name: &str| format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_"));
    let output = Command::new(env!("CARGO_BIN_EXE_startjobs"))
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap_or_default())
        .envs(settings.iter().map(|(name, value)| (variable(name), value)))
        .output()
        .expect("the binary under test runs");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code(), said)
}

fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn text(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|&line| line.to_owned()).collect()
}

#[tokio::test]
async fn sentinels_have_credentials_of_their_own_and_every_command_finds_the_master() {
    let options = SentinelOptions {
        server: text(&["requirepass 0fserver", "masterauth 0fserver"]),
        sentinel: text(&["requirepass 0fsentinel", "user asks on >asked ~* &* +@all"]),
        service: text(&["sentinel auth-pass startjobs 0fserver"]),
        ..SentinelOptions::new()
    };
    let sentinels = Sentinels::start(&options).expect("servers and sentinels start");
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("the folder is ours");
        path.to_str().expect("text").to_owned()
    };
    let (of_sentinel, of_user) = (file("default", "0fsentinel\n"), file("user", "asked\n"));
    let url = sentinels.url_of("redis-sentinel", ":0fserver@", &sentinels.sentinel_ports());
    let access = [("redis-sentinel-user", "asks"), ("redis-sentinel-password-file", of_user.as_str())];
    let mut rig = Rig::at(sentinels, &url, &access, &options, &[("redis-password-file", &of_sentinel)]).await;
    rig.replicas(2).await;
    rig.outlives_its_master().await;

    let mut settings = owned(&access);
    settings.extend(owned(&[("redis-url", &url), ("engine", "simulated")]));
    for arguments in [
        &["status"][..],
        &["check", "--min-replicas", "2"],
        &["replicas"],
        &["pending"],
        &["send", "--game", "by-hand", "--image", "galaxy/engine:1", "--wait"],
        &["audit", "--since", "0"],
        &["dead", "list"],
        &["doctor"],
        &["bench", "drain", "--jobs", "200", "--redis-url", &url],
    ] {
        let given = if arguments[0] == "bench" { &settings[..2] } else { &settings[..] };
        let mut words = arguments.to_vec();
        if arguments[0] == "bench" {
            words.extend(["--redis-sentinel-user", "asks", "--redis-sentinel-password-file", of_user.as_str()]);
        }
        let (code, said) = run(&words, given);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        assert!(!said.contains("0fserver") && !said.contains("0fsentinel"), "{arguments:?}: {said}");
        if arguments == ["doctor"] {
            assert!(said.contains("3 of 3 answer; master 127.0.0.1:"), "{said}");
            assert!(said.contains("min-replicas-to-write is 0"), "{said}");
        }
    }
    assert!(!rig.world.logs().contains("0fs"), "{}", rig.world.logs());

    // Where data is not to be lost, a master that may be isolated is refused.
    let mut strict = settings.clone();
    strict.extend(owned(&[("strict", "on")]));
    let (code, said) = run(&["worker"], &strict);
    assert!(
        code == Some(78) && said.contains("min-replicas-to-write is 0: an isolated master goes on"),
        "{code:?} {said}"
    );

    // What is wrong is told in words that name the setting.
    let wrong = file("wrong", "no\n");
    let service = url.replace("/startjobs", "/games");
    for (name, value, words) in [
        (
            "redis-sentinel-password-file",
            wrong.as_str(),
            "correct redis-sentinel-user and redis-sentinel-password-file",
        ),
        ("redis-url", &service, "knows no service games; correct the service in redis-url"),
        ("redis-url", &url.replace("0fserver", "no"), "WRONGPASS"),
    ] {
        let mut given = settings.clone();
        given.retain(|(known, _)| known != name);
        given.push((name.to_owned(), value.to_owned()));
        let (code, said) = run(&["status", "--timeout", "3s"], &given);
        assert!(code == Some(69) && said.contains(words), "{name}: {code:?} {said}");
        assert!(!said.contains("0fs"), "{said}");
    }
}

#[tokio::test]
async fn sentinels_and_servers_behind_tls() {
    let certificates = Certificates::new(&["127.0.0.1"]);
    let lines: Vec<String> = [
        ("tls-ca-cert-file", "ca.pem"),
        ("tls-cert-file", "server-cert.pem"),
        ("tls-key-file", "server-key.pem"),
        ("tls-client-cert-file", "cert.pem"),
        ("tls-client-key-file", "key.pem"),
    ]
    .map(|(setting, file)| format!("{setting} {}", certificates.path(file)))
    .into();
    let options =
        SentinelOptions { server: lines.clone(), sentinel: lines, is_encrypted: true, ..SentinelOptions::new() };
    let sentinels = Sentinels::start(&options).expect("servers and sentinels start");
    let url = sentinels.url_of("rediss-sentinel", "", &sentinels.sentinel_ports());
    let files = certificates.settings("redis");
    let files: Vec<(&str, &str)> = files.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut rig = Rig::at(sentinels, &url, &files, &options, &files).await;
    rig.replicas(1).await;
    rig.outlives_its_master().await;

    // Without TLS to the sentinels, which demand it.
    let mut settings = owned(&files);
    settings.extend(owned(&[("redis-url", &url), ("redis-sentinel-tls", "off"), ("engine", "simulated")]));
    let (code, said) = run(&["status", "--timeout", "2s"], &settings);
    assert!(code == Some(69) && said.contains("names a master"), "{code:?} {said}");
    settings[files.len() + 1].1 = "same".to_owned();
    let (code, said) = run(&["status"], &settings);
    assert_eq!(code, Some(0), "{said}");
}
