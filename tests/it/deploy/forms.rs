//! Every form of an unencrypted Redis connection that the settings accept, with a replica and commands on a real server.

use std::fs;
use std::path::Path;
use std::process::Command;

use startjobs::embedded::redis_server::RedisServer;

use super::{Surroundings, shown, temporary};

const PASSWORD: &str = "s3same/?#%@: €";

fn server(options: &[&str]) -> RedisServer {
    RedisServer::start_with(Path::new("redis-server"), options).expect("redis-server starts")
}

/// A job sent and answered, the fleet looked at, and all of it again after every connection was cut.
fn works(redis: &RedisServer, settings: &[(&str, &str)], cli: &[&str]) {
    let mut fleet = Surroundings::new(settings);
    fleet.replica();
    let send = |fleet: &Surroundings, game: &str| {
        let said = fleet.succeeds(&["send", "--game", game, "--image", "galaxy/engine:1", "--wait"], &[]);
        assert!(said.contains("success"), "{said}");
    };
    send(&fleet, "g1");
    let status = fleet.succeeds(&["status"], &[]);
    assert!(!status.contains(PASSWORD), "{status}");
    // It authenticates and selects its database again.
    asks(redis, cli, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    send(&fleet, "g2");
    fleet.drain();
    assert!(!fleet.logs().contains(PASSWORD), "{}", fleet.logs());
    let answered = asks(redis, cli, &["XLEN", "runtime:job_results"]);
    assert_eq!(answered, "2");
}

fn asks(redis: &RedisServer, cli: &[&str], words: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-p", &redis.port().to_string(), "--no-auth-warning"])
        .args(cli)
        .args(words)
        .output()
        .expect("redis-cli comes with redis-server");
    assert!(output.status.success(), "{words:?}: {}", shown(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_unix_socket() {
    let folder = temporary();
    let socket = folder.path().join("redis.sock");
    let redis = server(&["--unixsocket", socket.to_str().expect("text")]);
    works(&redis, &[("redis-url", &format!("redis+unix://{}", socket.display()))], &[]);
}

#[test]
fn a_unix_socket_with_a_user_and_a_password_file() {
    let folder = temporary();
    let [socket, file, users] = ["redis.sock", "password", "users.acl"].map(|name| folder.path().join(name));
    // A rule of a user is a word.
    let password = PASSWORD.replace(' ', "_");
    fs::write(&file, format!("{password}\n")).expect("the folder is ours");
    fs::write(&users, format!("user fleet on >{password} ~* &* +@all")).expect("the folder is ours");
    let redis = server(&["--unixsocket", socket.to_str().expect("text"), "--aclfile", users.to_str().expect("text")]);
    let settings = [
        ("redis-url", format!("redis+unix://fleet@{}", socket.display())),
        ("redis-password-file", file.display().to_string()),
    ];
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    works(&redis, &settings, &["--user", "fleet", "--pass", &password]);
}

#[test]
fn a_database_number() {
    let redis = server(&[]);
    works(&redis, &[("redis-url", &format!("{}/3", redis.url()))], &["-n", "3"]);
    assert_eq!(asks(&redis, &["-n", "0"], &["DBSIZE"]), "0", "nothing is in another database");
}

#[test]
fn a_password_file_of_the_default_user() {
    let folder = temporary();
    let file = folder.path().join("password");
    fs::write(&file, format!("{PASSWORD}\n")).expect("the folder is ours");
    let redis = server(&["--requirepass", PASSWORD]);
    let settings = [("redis-url", redis.url()), ("redis-password-file", file.display().to_string())];
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    works(&redis, &settings, &["-a", PASSWORD]);
}

#[test]
fn a_password_in_the_url_and_the_name_of_valkey() {
    let redis = server(&["--requirepass", PASSWORD]);
    let encoded: Vec<String> = PASSWORD.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let url = format!("valkey://:{}@127.0.0.1:{}/0", encoded.concat(), redis.port());
    works(&redis, &[("redis-url", &url)], &["-a", PASSWORD]);
}

#[test]
fn a_cluster_is_refused_for_now() {
    let fleet = Surroundings::new(&[("redis-url", "redis-cluster://127.0.0.1:7000")]);
    for command in [&["worker"][..], &["status"], &["send", "--game", "g", "--image", "i:1"]] {
        let output = fleet.command(command, &[]);
        assert_eq!(output.status.code(), Some(78), "{command:?}: {}", shown(&output));
        assert!(shown(&output).contains("redis-cluster://"), "{}", shown(&output));
    }
}
